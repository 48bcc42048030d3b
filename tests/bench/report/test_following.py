"""A run that is looked at while it goes on: `wmbench report --follow`, `wmbench status --watch`."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.cli import main
from bench.report import follow as following
from bench.report.follow import state_of
from bench.report.write import write_report

PLAN = core_plan("smoke")
LAST = "E2-random-s0"
WAIT_SECONDS = 60


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run that lacks its last rollout."""
    run_dir = write_run(tmp_path / "run", PLAN, drawn_outcomes(PLAN, REALISTIC))
    for path in unfinished(run_dir):
        path.rename(path.with_name(f"later-{path.name}.kept"))
    return run_dir


def unfinished(run_dir: Path) -> list[Path]:
    return [run_dir / "episodes" / f"{LAST}.jsonl", run_dir / "cases" / f"{LAST}.json"]


def finish(run_dir: Path) -> None:
    for path in unfinished(run_dir):
        path.with_name(f"later-{path.name}.kept").rename(path)


def test_an_unfinished_page_says_so_and_loads_itself_again_only_when_followed(
    run_dir: Path,
) -> None:
    plain = write_report(run_dir).read_text()
    assert "<b>Unfinished.</b> 8 of 10 episodes are finished." in plain
    assert 'http-equiv="refresh"' not in plain
    assert (
        '<meta http-equiv="refresh" content="10">' in write_report(run_dir, refresh=10).read_text()
    )
    finish(run_dir)
    whole = write_report(run_dir, refresh=10).read_text()
    assert "Unfinished" not in whole
    assert 'http-equiv="refresh"' not in whole


def test_follow_rewrites_the_page_until_the_run_is_finished(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = []

    def next_look(seconds: float) -> None:
        pages.append((run_dir / "report.html").stat().st_mtime_ns)
        if len(pages) == 2:
            finish(run_dir)

    monkeypatch.setattr(following.time, "sleep", next_look)
    assert main(["report", str(run_dir), "--follow"]) == 0
    assert len(pages) == 2
    assert pages[0] == pages[1]  # nothing was new, so nothing was written
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "8 of 10 episodes are finished."
    assert lines[-2].startswith("core at smoke on cpu: INCONCLUSIVE")
    assert 'http-equiv="refresh"' not in (run_dir / "report.html").read_text()
    assert not list(run_dir.glob(".*partial"))


def test_ctrl_c_leaves_a_page_that_stands_still(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        assert 'http-equiv="refresh"' in (run_dir / "report.html").read_text()
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupt)
    assert main(["report", str(run_dir), "--follow"]) == 0
    assert 'http-equiv="refresh"' not in (run_dir / "report.html").read_text()


def test_any_new_line_is_news_and_a_report_is_none(run_dir: Path) -> None:
    before = state_of(run_dir)
    write_report(run_dir)
    assert state_of(run_dir) == before
    with (run_dir / "metrics" / "E0-train-s0.jsonl").open("a") as file:
        file.write("{")
    assert state_of(run_dir) != before


class Terminal:
    """`wmbench` in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "50"}
        command = [sys.executable, "-m", "bench.cli", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.read = b""

    @property
    def text(self) -> str:
        return self.read.decode(errors="replace")

    def read_until(self, wanted: str) -> None:
        """Read until `wanted` is there; fails after `WAIT_SECONDS`, and where the program ends
        before."""
        end = time.monotonic() + WAIT_SECONDS
        while wanted not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.read += os.read(self.master, 65536)
                except OSError:  # Linux says so at the end of a terminal
                    assert wanted in self.text, self.text

    def close(self) -> int:
        code = self.process.wait(WAIT_SECONDS)
        os.close(self.master)
        return code


@pytest.fixture
def watched(run_dir: Path) -> Iterator[Terminal]:
    terminal = Terminal("status", str(run_dir), "--watch")
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.process.wait()


def test_watch_goes_on_with_the_run_and_ends_with_it(run_dir: Path, watched: Terminal) -> None:
    cases = len(PLAN.cases)
    watched.read_until(f"{cases - 1} of {cases} cases done")
    watched.read_until("0/2 episodes")
    finish(run_dir)
    watched.read_until(f"{cases} of {cases} cases done")
    assert watched.close() == 0


def test_ctrl_c_ends_watching_in_order(watched: Terminal) -> None:
    watched.read_until("0/2 episodes")
    watched.process.send_signal(signal.SIGINT)
    assert watched.close() == 0
    assert "Traceback" not in watched.text


def test_without_a_terminal_the_status_is_printed_once(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(run_dir)]) == 0
    plain = capsys.readouterr().out
    assert main(["status", str(run_dir), "--watch"]) == 0
    assert capsys.readouterr().out == plain


def test_only_one_way_of_showing_at_a_time(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["status", str(run_dir), "--watch", "--json"],
        ["report", str(run_dir), "--follow", "--json"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_table_takes_names_as_they_are() -> None:
    """rich would read [square brackets] as its own markup."""
    from rich.console import Console

    from bench.commands.watching import table

    case = {
        "case": "E0-[red]none[/red]",
        "kind": "rollout",
        "done": False,
        "finished": 1,
        "planned": 2,
        "failed": "it said [/b]",
    }
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(
        table({"run": "run [b]", "done": 0, "cases": [case]}, lambda each: each["failed"])
    )
    told = console.export_text()
    assert "E0-[red]none[/red]" in told
    assert "it said [/b]" in told
