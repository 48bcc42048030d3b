"""Journals: half lines, a full disk, a killed writer, a second run, and rows that are not the plan's."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.journal import Journal, Row, check_against_plan, journal_path, lock, read_journals
from bench.overrides import Overrides
from bench.plan import Plan, resolve_plan
from wmvla.errors import UserError

PLAN = resolve_plan("core", "smoke", "cpu")
CASE = PLAN.case("E0-none-s0")


def row_of(index: int, /, case: str = CASE.id, plan: Plan = PLAN, **changes: object) -> Row:
    episode = plan.episodes[index]
    row = {
        "index": index,
        "case": case,
        "suite": episode.suite,
        "task": episode.task,
        "init": episode.init,
        "env_seed": episode.env_seed,
        "noise_seed": episode.noise_seed,
        "repeat": episode.repeat,
        "success": True,
        "steps": 12,
        "status": "ok",
        "error": None,
        "seconds": 1.5,
        "cpu_seconds": 1.25,
        "scene_hash": f"scene{episode.init}" * 4,
        "queries": 2,
        "renders": 4,
    }
    return {**row, **changes}


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "episodes" / "a.jsonl")
    assert journal.rows() == []
    assert journal.finished() == set()
    journal.append(row_of(0))
    journal.append(row_of(1, error="Kollision im Greifer é", status="error"))
    assert journal.rows() == [row_of(0), row_of(1, error="Kollision im Greifer é", status="error")]
    assert journal.finished() == {0, 1}


@given(st.integers(0, 400))
def test_a_journal_cut_anywhere_continues(cut: int) -> None:
    """kill -9 may leave any prefix of the last line; whole lines stay, the rest is played again."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "a.jsonl")
        journal.append(row_of(0))
        whole = journal.path.read_bytes()
        journal.append(row_of(1))
        kept = journal.path.read_bytes()[: len(whole) + cut]
        journal.path.write_bytes(kept)
        survived = 2 if kept.endswith(b"\n") and len(kept) > len(whole) else 1
        assert len(journal.rows()) == survived
        if survived == 1:
            journal.append(row_of(1))
        assert journal.rows() == [row_of(0), row_of(1)]


def test_a_half_written_first_line_is_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    journal.path.write_text('{"index": 0, "ca' + "x" * 200_000)
    assert journal.rows() == []
    journal.append(row_of(0))
    assert journal.rows() == [row_of(0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"index": 0, "ca', "line 2 is not JSON"),
        ("[]", "line 2: not a JSON object"),
        (json.dumps({**row_of(0), "success": 1}), "line 2: 'success' is 1"),
        (json.dumps({**row_of(0), "index": True}), "line 2: 'index' is True"),
        (
            json.dumps({**row_of(0), "status": "lost"}),
            "line 2: 'status' is 'lost', not one of ok, error, timeout",
        ),
        (json.dumps({key: value for key, value in row_of(0).items() if key != "task"}), "missing key 'task'"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    good = json.dumps(row_of(0))
    journal.path.write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(UserError, match=r"a\.jsonl") as refused:
        journal.rows()
    assert message in str(refused.value)


FILL_THE_DISK = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_journal import row_of
from bench.journal import Journal
from wmvla.errors import UserError

journal = Journal(Path({path!r}))
journal.append(row_of(0))
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
try:
    journal.append(row_of(1))
except UserError as error:
    print(error)
    assert journal.path.stat().st_size == size
    sys.exit(2)
"""


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """A file size limit stands for the disk: the kernel takes 100 bytes of the line and refuses the rest."""
    path = tmp_path / "a.jsonl"
    script = FILL_THE_DISK.format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "cannot record an episode" in done.stdout
    assert done.stdout.count("\n") == 1
    journal = Journal(path)
    assert journal.rows() == [row_of(0)]
    journal.append(row_of(1))
    assert journal.finished() == {0, 1}


def test_an_unwritable_place_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "episodes").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot record an episode"):
        Journal(tmp_path / "episodes" / "a.jsonl").append(row_of(0))


HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from bench.journal import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_run_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is at work"), lock(tmp_path):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=10)
    with lock(tmp_path):
        pass


def test_a_dying_run_is_waited_for(tmp_path: Path) -> None:
    program = HOLD_THE_LOCK.replace("time.sleep(60)", "time.sleep(1)")
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with lock(tmp_path):
        pass
    assert holder.wait(timeout=10) == 0


def test_rows_of_the_plan_pass() -> None:
    check_against_plan(PLAN, CASE, [row_of(1), row_of(0)])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row_of(0), row_of(0)], "E0-none-s0, episode 0 (task 7, init 1, repeat 0): recorded twice"),
        ([row_of(0, index=9)], "not in the plan, whose table has 2 episodes"),
        ([row_of(0, index=-1)], "not in the plan"),
        ([row_of(0, noise_seed=3)], "its noise_seed is 3, the plan says"),
        ([row_of(0, index=1)], "its init is 1, the plan says 2"),
        ([row_of(0, case="E1-zero-s0")], "recorded by case 'E1-zero-s0'"),
    ],
)
def test_rows_that_are_not_the_plans_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(UserError) as refused:
        check_against_plan(PLAN, CASE, rows)
    assert message in str(refused.value)


def test_repeats_of_one_init_must_share_their_scene() -> None:
    plan = resolve_plan("core", "smoke", "cpu", Overrides(episodes=4))
    with pytest.raises(UserError, match=r"episode 2 .*its scene is other, but scene1scene1 in E0-none-s0"):
        check_against_plan(plan, CASE, [row_of(0, plan=plan), row_of(2, plan=plan, scene_hash="other")])


def test_cases_must_share_their_scenes(tmp_path: Path) -> None:
    Journal(journal_path(tmp_path, "E0-none-s0")).append(row_of(1))
    Journal(journal_path(tmp_path, "E1-zero-s0")).append(row_of(1, "E1-zero-s0"))
    Journal(journal_path(tmp_path, "E2-pred-s0")).append(row_of(1, "E2-pred-s0", scene_hash=None, status="error"))
    assert {case: len(rows) for case, rows in read_journals(PLAN, tmp_path).items()} == {
        "E0-none-s0": 1,
        "E1-zero-s0": 1,
        "E2-pred-s0": 1,
        "E2-zero-s0": 0,
        "E2-random-s0": 0,
    }
    Journal(journal_path(tmp_path, "E2-zero-s0")).append(row_of(1, "E2-zero-s0", scene_hash="another"))
    with pytest.raises(UserError, match=r"E2-zero-s0, episode 1 .*its scene is another, but scene2scene2"):
        read_journals(PLAN, tmp_path)
