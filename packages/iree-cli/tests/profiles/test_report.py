"""From times and work to floors: what a report says follows from what was measured."""

import html.parser
import itertools
import json

import pytest

from iree_cli.profiles import page, table, trace
from iree_cli.profiles.measure import Command, Measurement
from iree_cli.profiles.report import make_report
from iree_cli.profiles.roofline import Work, bound_of, work_of
from iree_hal.peaks import Peaks
from iree_hal.profile import ProfileRow
from iree_vm.artifact import DispatchInfo

PEAKS = Peaks(1e9, ((1 << 10, 1e9), (1 << 20, 0.5e9)))
INFO = DispatchInfo(
    "product",
    ("node <a>", "node b", "c", "d"),
    "matmul",
    "it & fits",
    work={
        "flops": ["w0", 1000, "*"],
        "transcendentals": 0,
        "constants": 100,
        "read": ["w0", 10, "*"],
        "written": 50,
    },
)


def row(export, command_index=0, constants=(), lengths=(), executable="exe"):
    return ProfileRow(0, command_index, executable, export, 0, (1, 1, 1), constants, lengths)


def report(peaks=PEAKS):
    measured = Measurement(
        [9000, 11_000, 10_000],
        [8000, 8000, 8000],
        [
            Command(row("product", 0, (2,), (100, 20, 50)), [4000, 3000, 5000]),
            Command(row("copy", 1, (), (64, 64), ""), [100, 100, 100]),
            Command(row("product", 3, (4,), (100, 40, 50)), [6000, 6000, 9000]),
            Command(row("unknown", 5, (), (8, 8)), [10, 10, 10]),
        ],
    )
    return make_report("t <x>", {"device": "d"}, measured, {"product": INFO}, peaks, 1 << 20, "median")


def test_work_depends_on_what_the_dispatch_was_given():
    assert work_of(row("product", constants=(3,)), INFO) == Work(3000, 0, 100, 30, 50)
    assert work_of(row("product", constants=()), INFO).flops is None
    assert work_of(row("fill", lengths=(7,), executable=""), None) == Work(0, 0, 0, 0, 7)
    assert work_of(row("copy", lengths=(7, 7), executable=""), None) == Work(0, 0, 0, 7, 7)
    assert work_of(row("other", lengths=(7, 5)), None).nbytes == 12
    assert work_of(row("upload", executable=""), None).nbytes is None


def test_the_larger_of_both_times_is_the_floor():
    assert bound_of(Work(5000, 0, 0, 100, 100), PEAKS, 0).by == "arithmetic"
    assert bound_of(Work(5000, 0, 0, 100, 100), PEAKS, 0).nanoseconds == pytest.approx(5000)
    assert bound_of(Work(5, 0, 0, 100, 100), PEAKS, 0).by == "memory"
    assert bound_of(Work(5, 0, 0, 100, 100), PEAKS, 0).nanoseconds == pytest.approx(200)
    assert bound_of(Work(5, 0, 0, 100, 100), None, 0) is None
    assert bound_of(Work(), PEAKS, 0) is None


def test_weights_come_from_where_all_of_them_fit():
    few, many = (bound_of(Work(0, 0, 100, 0, 0), PEAKS, n).nanoseconds for n in (1 << 10, 1 << 20))
    assert (few, many) == (pytest.approx(100), pytest.approx(200))


def test_lines_join_the_calls_of_a_dispatch():
    made = report()
    assert [line.name for line in made.commands] == ["product", "copy", "product", "unknown"]
    assert [(line.name, line.count, line.nanoseconds) for line in made.lines] == [
        ("product", 2, 10_000),
        ("copy", 1, 100),
        ("unknown", 1, 10),
    ]
    product = made.lines[0]
    assert product.work == Work(6000, 0, 200, 60, 100)
    assert product.flops_rate == pytest.approx(0.6e9)
    assert sum(line.share for line in made.lines) == pytest.approx(1)
    assert made.call == 10_000
    assert made.bound == pytest.approx(sum(line.bound.nanoseconds for line in made.commands))


def test_without_peaks_there_are_no_floors(capsys):
    made = report(None)
    assert made.bound is None
    table.show(made, each=False, top=None)
    assert "--peak-flops" in capsys.readouterr().out


def test_the_table_says_what_it_leaves_out(capsys):
    table.show(report(), each=True, top=2)
    text = capsys.readouterr().out
    assert text.splitlines()[0].split()[:3] == ["us", "share", "x"]
    assert text.splitlines()[1].startswith("4.0")
    assert "and 2 more, 0.1 us" in text
    assert "node <a>, node b, c and 1 more" in text


def test_the_trace_lays_commands_end_to_end():
    value = json.loads(trace.trace_json(report()))
    events = [e for e in value["traceEvents"] if e["ph"] == "X" and e["tid"] == 1]
    assert [e["name"] for e in events] == ["product", "copy", "product", "unknown"]
    for one, after in itertools.pairwise(events):
        assert one["ts"] + one["dur"] == pytest.approx(after["ts"])
    assert events[0]["args"]["sources"] == list(INFO.sources)


class _Checked(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.rows, self.addresses = [], 0, []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)
        self.rows += tag == "tr"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_alone():
    text = page.page(report())
    checked = _Checked()
    checked.feed(text)
    checked.close()
    assert not checked.open
    assert checked.rows == (1 + 3) + (1 + 4)
    assert not checked.addresses
    assert "node <a>" not in text.split("<script")[0]
    embedded = text.split('id="profile">')[1].split("</script>")[0]
    assert json.loads(embedded)["dispatches"][0]["sources"] == list(INFO.sources)
