"""A run on a machine that fails in every way, against a model of it: no episode that was recorded
is lost, none is there that was not played, and the same command ends as it would have."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from broken_disk import Disk, Killed
from fake_runs import run_here, trained
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from synthetic_run import PROVENANCE, core_plan

from bench.host import hardware
from bench.record.journal import read_journals
from bench.record.run import read_run
from bench.run import session
from bench.run.stages import rollout
from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout import engine, lock
from wmvla.rollout.episode import EpisodeRecord
from wmvla.rollout.journal import Journal, Row, journal_files
from wmvla.rollout.shard import Shard, rows_of

PLAN = core_plan("smoke", episodes=10)
CASES = tuple(case.id for case in PLAN.rollout_cases())
SHARDS = (None, *(Shard(number, of) for of in (2, 3) for number in range(1, of + 1)))
OWNERS = st.tuples(
    st.sampled_from(SHARDS), st.lists(st.sampled_from(CASES), max_size=2, unique=True)
)
FAULTS = st.tuples(
    st.sampled_from((None, "kill", "kill", "full", "broken", "short")), st.integers(1, 80)
)
Key = tuple[str, int]
Owner = tuple[Shard | None, Sequence[str]]


class Interrupted(BaseException):
    """Ctrl-C: the run ends in order."""


class Model:
    """What must be recorded, and what may be: in flight when its process or the disk failed, or
    on a disk that lied since the power was last off; and the cases whose record must be there."""

    def __init__(self) -> None:
        self.sure: set[Key] = set()
        self.maybe: set[Key] = set()
        self.done: set[str] = set()

    def allows(self, found: set[Key], done: set[str]) -> bool:
        return self.sure <= found <= self.sure | self.maybe and self.done <= done

    def power_came_back(self, found: set[Key], done: set[str]) -> None:
        self.sure, self.maybe = found, set()
        whole = {case for case in CASES if {(case, row.index) for row in PLAN.episodes} <= found}
        self.done = done - (set(CASES) - whole)  # a disk that lied may have lost their episodes


class Crashes(RuleBasedStateMachine):
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name) / "results"
        self.run_dir = trained(PLAN, root)
        (self.run_dir / "provenance.json").unlink()
        self.disk, self.model = Disk(root), Model()
        self.owners: list[set[Key]] = []
        self.worked = self.torn = False
        self.append = Journal.append
        self.patch = pytest.MonkeyPatch()
        for place, name, value in (
            (lock, "LOCK_SECONDS", 0.0),
            (session, "collect", lambda command: PROVENANCE),
            (hardware, "gl_renderer", lambda: PROVENANCE["gl_renderer"]),
            (rollout, "open_policy", lambda *_, **__: None),
            (rollout, "simulators_of", lambda *_: None),
            (engine, "roll_out", self._play),
            (Journal, "append", lambda journal, row: self._append(journal, row)),
        ):
            self.patch.setattr(place, name, value)

    def teardown(self) -> None:
        try:
            self._ends_as_if_nothing_had_happened()
        finally:
            self.patch.undo()
            self.folder.cleanup()

    @rule(
        owner=OWNERS,
        rival=OWNERS,
        fault=FAULTS,
        lies=st.sampled_from([False] * 5 + [True]),
        stop=st.integers(1, 15),
    )
    def somebody_works(
        self, owner: Owner, rival: Owner, fault: tuple[str | None, int], lies: bool, stop: int
    ) -> None:
        """Until its work is done, or a fault or Ctrl-C ends it; a rival tries in its middle."""
        self.worked = True
        self.disk.lies, self.stop, self.rival = lies, stop, rival
        with self.disk.failing(*fault):
            try:
                self._work(*owner)
            except (Killed, Interrupted):
                pass
            except Exception as error:
                excused = self.disk.met and fault[0] != "short"
                if not excused and not (self.torn and isinstance(error, UserError)):
                    raise
        self.disk.lies = False

    @precondition(lambda self: self.worked)
    @rule(luck=st.integers(0, 2**32).map(Random))
    def the_power_fails(self, luck: Random) -> None:
        self.torn, self.worked = self.torn or self.disk.has_lied, False
        self.disk.power_fails(luck)
        if (self.run_dir / "plan.json").exists():
            self._as_told(lambda: read_run(self.run_dir))
        self.nothing_is_lost_or_invented()
        self.model.power_came_back(self._found(), self._done())

    @precondition(lambda self: self.worked)
    @rule(case=st.sampled_from(CASES), luck=st.integers(0, 2**32).map(Random))
    def lines_are_reordered(self, case: str, luck: Random) -> None:
        if (self.run_dir / "cases" / f"{case}.json").exists():
            return  # its sum is of the order that there was
        for file in journal_files(self.run_dir / "episodes" / f"{case}.jsonl"):
            lines = file.read_bytes().splitlines(keepends=True)
            half = [line for line in lines if not line.endswith(b"\n")]
            whole = [line for line in lines if line.endswith(b"\n")]
            luck.shuffle(whole)
            with file.open("r+b") as opened:
                opened.write(b"".join([*whole, *half]))
            self.disk.is_durable(file)

    @precondition(lambda self: self.model.sure)
    @rule(luck=st.integers(0, 2**32).map(Random))
    def a_line_stands_twice(self, luck: Random) -> None:
        """A user's copy, in the journal or in a shard's; it is named, and the user removes it."""
        case, index = luck.choice(sorted(self.model.sure))
        files = journal_files(self.run_dir / "episodes" / f"{case}.jsonl")
        lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
        whole = (line for line in lines if line.endswith(b"\n"))
        line = next(line for line in whole if f'"index": {index},'.encode() in line)
        file = luck.choice(files)
        before = file.read_bytes()
        file.write_bytes(line + before)
        with pytest.raises(UserError, match=f"episode {index} is recorded already in"):
            self._found()
        file.write_bytes(before)

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        Crashes.steps += 1
        assert self.model.allows(self._found(), self._done())

    def _found(self) -> set[Key]:
        rows = read_journals(PLAN, self.run_dir)
        return {(case, row["index"]) for case, found in rows.items() for row in found}

    def _done(self) -> set[str]:
        return {record.stem for record in self.run_dir.glob("cases/*.json")}

    def _work(self, shard: Shard | None, cases: Sequence[str]) -> None:
        chosen = session.cases_here(PLAN, shard, cases)
        with session.session(PLAN, self.run_dir, chosen, shard=shard, cases=cases) as opened:
            mine = {(case, row.index) for case in chosen for row in rows_of(shard, PLAN.episodes)}
            assert all(mine.isdisjoint(others) for others in self.owners)
            self.owners.append(mine)
            try:
                for case in chosen:
                    opened.carry_out(case)
                    if shard is None and not self.disk.has_lied:
                        self.model.done.add(case)
            finally:
                self.owners.pop()

    def _play(self, todo: Sequence[EpisodeRow], *others: Any) -> None:
        """In place of the simulators."""
        for row in todo:
            self.stop -= 1
            if self.stop == 0:
                raise Interrupted
            if self.stop % 4 == 0 and len(self.owners) == 1:
                self._rival_tries()
            scene = f"{row.init:064x}"
            others[-1](row, EpisodeRecord(True, 9, "ok", None, 1.0, 1.0, scene, 1, 2, "cheap", 1))

    def _rival_tries(self) -> None:
        try:
            self._work(*self.rival)
        except UserError as error:
            refused = " is running in this directory" in str(error)
            if not (refused or self.disk.met or self.torn):
                raise

    def _as_told(self, do: Callable[[], Any]) -> Any:
        """Do it; files that a lying disk has torn are named, and the user removes them."""
        while True:
            try:
                return do()
            except UserError as error:
                named = re.findall(r"[^\s:;]+\.json\b", str(error))
                if not (self.torn and named):
                    raise
                Path(named[-1]).unlink()

    def _append(self, journal: Journal, row: Row) -> None:
        episode = row["case"], row["index"]
        assert episode not in self.model.sure, "it is played again"
        self.model.maybe.add(episode)
        self.append(journal, row)
        if not self.disk.has_lied:
            self.model.sure.add(episode)

    def _ends_as_if_nothing_had_happened(self) -> None:
        self.stop = 10**6
        self.rival = (None, ())
        self._as_told(lambda: self._work(None, ()))
        assert self._found() == {(case, row.index) for case in CASES for row in PLAN.episodes}
        records = self._as_told(lambda: read_run(self.run_dir)).cases
        assert [records[case]["succeeded"] for case in CASES] == [len(PLAN.episodes)] * len(CASES)


@pytest.mark.parametrize("file", ["provenance.json", "cases/E0-none-s0.json"])
def test_a_torn_file_is_named_before_anything_is_played(tmp_path: Path, file: str) -> None:
    run_dir = trained(PLAN, tmp_path / "results")
    (run_dir / file).write_text('{"git')
    code, _, err = run_here(run_dir)
    assert code == 2
    assert f"error: {run_dir / file}: not valid JSON" in err
    assert not any(run_dir.glob("episodes/*"))


def run_steps(examples: int, length: int, **chosen: Any) -> int:
    """How many steps were taken by so many runs of so many steps each at most."""
    Crashes.steps = 0
    how = settings(
        max_examples=examples, stateful_step_count=length, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate], **chosen,
    )  # fmt: skip
    run_state_machine_as_test(Crashes, settings=how)
    return Crashes.steps


def test_a_run_survives_200_steps_of_every_fault() -> None:
    assert run_steps(8, 25, derandomize=True) >= 200


@pytest.mark.slow  # 5 CPU minutes
def test_a_run_survives_10000_steps_of_every_fault() -> None:
    assert run_steps(200, 50) >= 10_000
