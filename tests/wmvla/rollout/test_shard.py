"""Shards: every row in exactly one, evenly, and who a process is."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.shard import Shard, parse_shard, rows_of, shard_from_environment

VARIABLES = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")


def table(tasks: int, inits: int, repeats: int) -> list[EpisodeRow]:
    """A table in the order of ``bench.plan.episode_table``: task, repeat, init."""
    places = [
        (task, init, repeat)
        for task in range(tasks)
        for repeat in range(repeats)
        for init in range(inits)
    ]
    return [
        EpisodeRow(i, "libero_spatial", task, init, init, 7 * i, repeat)
        for i, (task, init, repeat) in enumerate(places)
    ]


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 4), st.integers(1, 20))
def test_shards_are_an_even_partition_of_the_table(
    tasks: int, inits: int, repeats: int, of: int
) -> None:
    rows = table(tasks, inits, repeats)
    shards = [rows_of(Shard(number, of), rows) for number in range(1, of + 1)]
    assert sorted(row.index for shard in shards for row in shard) == [row.index for row in rows]
    assert all(shard == sorted(shard, key=lambda row: row.index) for shard in shards)
    for key in (lambda row: 0, lambda row: row.task, lambda row: (row.task, row.init)):
        counts = [Counter(map(key, shard)) for shard in shards]
        for value in set(map(key, rows)):
            assert (
                max(count[value] for count in counts) - min(count[value] for count in counts) <= 1
            )


@given(st.integers(1, 6), st.data())
def test_who_plays_a_row_does_not_depend_on_the_order_of_the_table(
    of: int, data: st.DataObject
) -> None:
    rows = table(2, 5, 2)
    shuffled = data.draw(st.permutations(rows))
    for number in range(1, of + 1):
        assert set(rows_of(Shard(number, of), shuffled)) == set(rows_of(Shard(number, of), rows))


def test_without_a_shard_it_is_the_whole_table() -> None:
    assert rows_of(None, table(2, 3, 1)) == table(2, 3, 1)


@given(st.integers(1, 500), st.integers(0, 500))
def test_shards_are_read_as_they_are_shown(number: int, more: int) -> None:
    shard = Shard(number, number + more)
    assert parse_shard(str(shard)) == shard


@pytest.mark.parametrize(
    "text",
    ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "one/four", "1.0/4", "1 of 4", "\u0661/4"],
)
def test_nonsense_is_no_shard(text: str) -> None:
    with pytest.raises(UserError, match=r"^SHARD=.*give the part and the number of parts"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "4"}, Shard(1, 4)),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
            Shard(4, 4),
        ),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}, Shard(2, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, None),
        ({"SLURM_STEP_NUM_TASKS": "2"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script
    ],
)
def test_ranks_are_shards(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], shard: Shard | None
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert shard_from_environment() == shard


@pytest.mark.parametrize(("rank", "size"), [("4", "4"), ("-1", "4"), ("", "4"), ("a", "b")])
def test_what_is_no_rank(monkeypatch: pytest.MonkeyPatch, rank: str, size: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(UserError, match=r"^RANK=.*not a rank"):
        shard_from_environment()
