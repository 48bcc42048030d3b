"""Journals: half lines, a full disk, broken lines, and the journals of shards read as one."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmvla.errors import UserError
from wmvla.rollout.journal import Journal, Row, journal_files, read_all, shard_journal_path
from wmvla.rollout.shard import Shard


def row_of(index: int, /, **changes: object) -> Row:
    row: dict[str, object] = {
        "index": index,
        "case": "E0-none-s0",
        "suite": "libero_object",
        "task": 7,
        "init": index + 1,
        "env_seed": 11,
        "noise_seed": 100 + index,
        "repeat": 0,
        "success": True,
        "steps": 12,
        "status": "ok",
        "error": None,
        "seconds": 1.5,
        "cpu_seconds": 1.25,
        "scene_hash": f"scene{index}" * 4,
        "queries": 2,
        "renders": 4,
        "reset": "cheap",
        "policy_batch": 1,
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
        ("[]", "line 2: the document must be a table, not []"),
        (json.dumps({**row_of(0), "success": 1}), "line 2: 'success' must be true or false, not 1"),
        (json.dumps({**row_of(0), "index": True}), "line 2: 'index' must be an integer, not True"),
        (
            json.dumps({**row_of(0), "status": "lost"}),
            "line 2: 'status' is 'lost'; known: error, ok, timeout",
        ),
        (
            json.dumps({**row_of(0), "reset": "warm"}),
            "line 2: 'reset' is 'warm'; did you mean 'hard'? known: cheap, hard",
        ),
        (
            json.dumps({**row_of(0), "policy_batch": None}),
            "line 2: 'policy_batch' must be an integer, not None",
        ),
        (
            json.dumps({**row_of(0), "steps": 2**31}),
            "line 2: 'steps' must lie between 0 and 2147483648, not 2147483648",
        ),
        (
            json.dumps({**row_of(0), "seconds": float("nan")}),
            "line 2: 'seconds' must be a number that can be computed with, not nan",
        ),
        (
            json.dumps({**row_of(0), "noise_seed": 2**63}),
            "line 2: 'noise_seed' must lie between 0 and 9223372036854775807",
        ),
        (
            json.dumps({**row_of(0), "env_seed": -1}),
            "line 2: 'env_seed' must lie between 0 and 9223372036854775807",
        ),
        (
            json.dumps({key: value for key, value in row_of(0).items() if key != "task"}),
            "missing key 'task'",
        ),
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
from wmvla.rollout.journal import Journal
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
    """A file size limit stands for the disk: the kernel takes 100 bytes of the line and refuses the
    rest."""
    path = tmp_path / "a.jsonl"
    script = FILL_THE_DISK.format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
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


def test_lines_from_before_there_were_shards_are_read(tmp_path: Path) -> None:
    old = {key: value for key, value in row_of(0).items() if key not in Row.__optional_keys__}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(old)}\n")
    assert read_all(tmp_path / "a.jsonl") == [old]


def test_the_shards_of_every_split_are_read_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "E2-pred-s0.jsonl"
    assert journal_files(path) == read_all(path) == []
    mine = [path, *(shard_journal_path(path, Shard(*shard)) for shard in ((1, 2), (2, 2), (3, 16)))]
    assert [file.name for file in mine[1:]] == [
        f"E2-pred-s0.shard-{name}.jsonl" for name in ("1-of-2", "2-of-2", "3-of-16")
    ]
    for name in (
        "E2-pred-s01.jsonl",
        "E2-pred-s0.shard-1-of-2.jsonl.bak",
        "E2-pred-s0.shard-a.jsonl",
        "E2-pred-s0xjsonl",
    ):
        (tmp_path / name).write_text("not a journal of this case\n")
    for index, file in enumerate(mine):
        Journal(file).append(row_of(index))
    assert set(journal_files(path)) == set(mine)
    assert sorted(row["index"] for row in read_all(path)) == [0, 1, 2, 3]


def test_an_episode_in_two_files_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for index in (0, 1):
        Journal(path).append(row_of(index))
    for index in (5, 4, 1):
        Journal(shard_journal_path(path, Shard(2, 2))).append(row_of(index))
    with pytest.raises(UserError) as refused:
        read_all(path)
    first, second = f"{path} line 2", f"{tmp_path / 'a.shard-2-of-2.jsonl'} line 3"
    assert (
        str(refused.value)
        == f"{second}: episode 1 is recorded already in {first}; remove one of the two lines"
    )


@given(st.permutations(range(8)), st.integers(1, 4), st.data())
def test_shards_cut_anywhere_are_read_as_one_and_continue(
    order: list[int], of: int, data: st.DataObject
) -> None:
    """kill -9 of any shards: what is whole stays, what is missing is known, and the other shards'
    lines are untouched."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        file_of = {
            index: Journal(shard_journal_path(path, Shard(index % of + 1, of))) for index in order
        }
        for index in order:
            file_of[index].append(row_of(index))
        whole = {file: file.read_bytes() for file in journal_files(path)}
        cut = data.draw(st.sampled_from(sorted(whole)))
        cut.write_bytes(whole[cut][: data.draw(st.integers(0, len(whole[cut])))])
        kept = {row["index"] for row in read_all(path)}
        assert kept >= {index for index in order if file_of[index].path != cut}
        for index in sorted(set(order) - kept):
            file_of[index].append(row_of(index))
        assert sorted(read_all(path), key=lambda row: row["index"]) == [
            row_of(index) for index in range(8)
        ]
        assert all(file.read_bytes() == text for file, text in whole.items() if file != cut)
