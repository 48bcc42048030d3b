"""The table of `wmbench status --watch`: drawn in place, again whenever the run has gone on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.report.follow import state_of

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH_SECONDS = 2
MOST_SHARE = 5
"""Reading a large run again waits at least so many times as long as reading it takes."""
BAR_WIDTH = 20

Status = dict[str, Any]


def watch(
    run_dir: Path,
    read: Callable[[], Status],
    in_words: Callable[[Status], str],
    has_jobs: bool,
    console: Console,
) -> None:
    """Draw what ``read`` gives until all cases are done; ``in_words`` puts one into words. With
    jobs in a queue (``has_jobs``) it is read every time: their news are in no file.
    """
    seen = None
    with Live(console=console, auto_refresh=False) as live:
        while True:
            began, state = time.monotonic(), state_of(run_dir)
            if has_jobs or state != seen:
                status, seen = read(), state
                live.update(table(status, in_words), refresh=True)
                if status["done"] == len(status["cases"]):
                    return
            time.sleep(max(REFRESH_SECONDS, MOST_SHARE * (time.monotonic() - began)))


def table(status: Status, in_words: Callable[[Status], str]) -> Table:
    """A row for each case: its name, how much of it is done, and the rest in words."""
    done, cases = status["done"], status["cases"]
    # Text, for a string would be read as rich's own markup.
    drawn = Table(
        title=Text(f"{status['run']}: {done} of {len(cases)} cases done"),
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    drawn.add_column("case", no_wrap=True)
    drawn.add_column("", width=BAR_WIDTH)
    drawn.add_column("", overflow="fold")
    for case in cases:
        style = "red" if "failed" in case else "dim" if case["done"] else ""
        drawn.add_row(Text(case["case"], style), _bar(case), Text(in_words(case), style))
    return drawn


def _bar(case: Status) -> "RenderableType":
    if not case.get("planned"):
        return ""
    return ProgressBar(
        total=case["planned"], completed=min(case["finished"], case["planned"]), width=BAR_WIDTH
    )
