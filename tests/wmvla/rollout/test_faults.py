"""Hundreds of faults, drawn from a seed: no episode lost, none counted twice, no hang, and the
right table at the end.

Simulators raise, die and hang; the disk of the journal fills up; the engine is killed in the middle
of a line. After each of the last two the run is started again, as a user would, until nothing is
left to play.
"""

import dataclasses
import errno
import os
import random
import time
from collections import Counter

import pytest

from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.rollout.engine import roll_out
from wmvla.rollout.journal import Journal
from wmvla.rollout.todo import TRIES
from wmvla.rollout.worker import Simulators

from .fake import FAULTS, CountingPolicy, make_fake, plan_faults, play, row

AT_MAKE = {fault for fault in FAULTS if fault.endswith("at make")}
ALWAYS = 99
PLAYED = ("success", "steps", "status", "error", "scene_hash", "queries", "renders", "reset")


class EngineKilledError(BaseException):
    """Stands for kill -9 of the engine: nobody catches it."""


class FaultyJournal(Journal):
    """Some appends meet a full disk half-way, some are the engine's last deed."""

    def __init__(self, path, monkeypatch, draws, share):
        super().__init__(path)
        self.monkeypatch, self.draws, self.share, self.faults = monkeypatch, draws, share, Counter()

    def append(self, row):
        fault = (
            self.draws.choice(["full disk", "half a line"])
            if self.draws.random() < self.share
            else None
        )
        self.faults[fault] += 1
        if fault is None:
            return super().append(row)
        write, written = os.pwrite, self.draws.randrange(1, 60)

        def write_a_part(descriptor, data, offset):
            write(descriptor, data[:written], offset)
            raise (
                EngineKilledError
                if fault == "half a line"
                else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            )

        with self.monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", write_a_part)
            super().append(row)


def draw_faults(draws, rows):
    """Most episodes meet at most TRIES - 1 faults, some meet one at every try; for that, their
    simulation must be made."""
    planned = {}
    for index in range(rows):
        if draws.random() < 0.04:
            planned[index] = [
                draws.choice(sorted(set(FAULTS) - AT_MAKE - {"hang in reset"}))
            ] * ALWAYS
        else:
            planned[index] = draws.choices(sorted(FAULTS), k=draws.choice([0, 1, 1, 2]))
    return planned


def survive(folder, monkeypatch, seed, rows, workers, silence):
    """Play ``rows`` episodes through faults, starting again after each that ends the run; how many
    of each kind there were."""
    draws = random.Random(seed)
    whole, _ = play(folder, [row(index, index) for index in range(rows)], workers=workers)
    planned = draw_faults(draws, rows)
    plan_faults(folder, planned)
    table = [row(index, index) for index in range(rows)]
    journal = FaultyJournal(folder / "E0-none-s0.jsonl", monkeypatch, draws, 0.2)
    simulators = Simulators(
        Environment(str(folder), (0,), 2, 30), 0, (), make_fake, built_once=True
    )
    left, ends = table, []
    while left:
        policy = CountingPolicy(4, largest_batch=draws.choice([1, 3]))
        try:
            roll_out(
                left,
                policy,
                simulators,
                workers,
                lambda row, record: journal.append(
                    {**dataclasses.asdict(row), "case": "E0", **dataclasses.asdict(record)}
                ),
                silence,
            )
        except (UserError, EngineKilledError) as end:
            ends.append(str(end))
        finished = journal.finished()
        left = [row for row in table if row.index not in finished]
    assert len(ends) == journal.faults["full disk"] + journal.faults["half a line"], (
        "nothing else ended a run"
    )
    line = (
        f"{journal.path}: cannot record an episode: No space left on device; nothing before it is"
        " lost, make room or repair the disk"
    )
    assert (
        sum(end.startswith(line) and "\n" not in end for end in ends) == journal.faults["full disk"]
    )

    lines = journal.rows()
    assert sorted(line["index"] for line in lines) == list(range(rows)), "none lost, none twice"
    for line in lines:
        faults = planned[line["index"]]
        if len(faults) < TRIES:
            assert {key: line[key] for key in PLAYED} == {
                key: getattr(whole[line["index"]], key) for key in PLAYED
            }
        else:
            assert (line["status"], line["success"]) == ("error", False)
            assert line["error"].startswith(FAULTS[faults[0]])
    injected = journal.faults
    del injected[None]
    for index, faults in planned.items():
        tries = folder / f"tries-{index}"
        injected.update(faults[: len(tries.read_text()) if tries.exists() else 0])
    return injected


def test_forty_faults(tmp_path, monkeypatch):
    injected = survive(tmp_path, monkeypatch, seed=4, rows=40, workers=4, silence=2.0)
    assert injected.total() >= 40
    assert set(injected) == {*FAULTS, "full disk", "half a line"}


@pytest.mark.slow
def test_five_hundred_faults(tmp_path, monkeypatch):
    began = time.monotonic()
    injected = survive(tmp_path, monkeypatch, seed=5, rows=260, workers=4, silence=3.0)
    print(f"\n  {injected.total()} faults in {time.monotonic() - began:.0f} s: {dict(injected)}")
    assert injected.total() >= 500
