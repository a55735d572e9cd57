"""Progress: shown where somebody looks, silent elsewhere, and never in the way of the result."""

import io

from rich.console import Console

from iree_cli import progress


def test_a_terminal_shows_phase_and_kernels():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    with progress.listening(console) as listener:
        assert listener is not None
        listener("phase", 4, 9, "stream")
        listener("kernel", 12, 37, "main_dispatch_3")
        listener("something new", 1, 2, "is ignored")
        listener._progress.refresh()
    text = stream.getvalue()
    assert "phase 5/9 stream" in text
    assert "kernels 12/37" in text


def test_a_pipe_shows_nothing():
    stream = io.StringIO()
    with progress.listening(Console(file=stream)) as listener:
        assert listener is None
    assert stream.getvalue() == ""
