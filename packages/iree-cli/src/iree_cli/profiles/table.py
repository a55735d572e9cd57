"""A report as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.table import Table

from iree_cli import console
from iree_cli.profiles.report import Line, Report

RIGHT = ("us", "share", "x", "GFLOP/s", "GB/s", "floor us", "reached")
COLUMNS = (*RIGHT, "bound by", "dispatch", "strategy", "nodes")


def show(report: Report, *, each: bool, top: int | None) -> None:
    """Print ``report``: by dispatch, or with ``each`` every command in order; only the slowest ``top``."""
    lines: Sequence[Line] = report.commands if each else report.lines
    shown = lines
    if top is not None:
        slowest = sorted(lines, key=lambda line: -line.nanoseconds)[:top]
        shown = [line for line in lines if line in slowest] if each else slowest
    stdout = console.stdout()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in COLUMNS:
        table.add_column(
            title,
            justify="right" if title in RIGHT else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=len(title),
        )
    for line in shown:
        table.add_row(*cells(line))
    with stdout.capture() as capture:
        stdout.print(table, soft_wrap=False)
    click.echo("\n".join(text.rstrip() for text in capture.get().splitlines()))
    if len(shown) < len(lines):
        rest = sum(line.nanoseconds for line in lines) - sum(line.nanoseconds for line in shown)
        click.echo(f"and {len(lines) - len(shown)} more, {rest / 1e3:,.1f} us")
    click.echo("")
    for text in summary(report):
        click.echo(text)


def cells(line: Line) -> list[str]:
    """The texts of a row, one for each of ``COLUMNS``."""
    reached = line.reached
    return [
        f"{line.nanoseconds / 1e3:,.1f}",
        f"{100 * line.share:.1f}%",
        str(line.count),
        "-" if not line.flops_rate else f"{line.flops_rate / 1e9:,.1f}",
        "-" if line.bytes_rate is None else f"{line.bytes_rate / 1e9:,.1f}",
        "-" if line.bound is None else f"{line.bound.nanoseconds / 1e3:,.1f}",
        "-" if reached is None else f"{100 * reached:.0f}%",
        "-" if line.bound is None else line.bound.by,
        line.name,
        line.strategy or "-",
        nodes(line.sources),
    ]


def nodes(sources: Sequence[str], most: int = 3) -> str:
    """Some of the source nodes, and how many more there are."""
    if len(sources) <= most:
        return ", ".join(sources) or "-"
    return ", ".join(sources[:most]) + f" and {len(sources) - most} more"


def summary(report: Report) -> list[str]:
    """What stands below the table."""
    call, device, commands = (
        f"{ns / 1e3:,.1f} us" for ns in (report.call, report.device, report.nanoseconds)
    )
    texts = [f"a call {call}, on the device {device}; its commands one by one {commands}"]
    if report.bound is not None and report.nanoseconds:
        share = 100 * report.bound / report.nanoseconds
        texts.append(f"the floor of all commands {report.bound / 1e3:,.1f} us, {share:.0f}% reached")
    peaks = report.peaks
    if peaks is not None:
        rates = ", ".join(f"{rate / 1e9:,.1f} in {_size(size)}" for size, rate in peaks.bandwidths)
        texts.append(f"peaks: {peaks.flops / 1e9:,.0f} GFLOP/s in f32; GB/s: {rates}")
    else:
        texts.append("peaks of this device are not known: give --peak-flops and --peak-bandwidth for floors")
    return texts


def _size(nbytes: int) -> str:
    if not nbytes:
        return "memory"
    return f"{nbytes >> 20} MiB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KiB"
