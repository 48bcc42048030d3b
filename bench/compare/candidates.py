"""What can be compared of two sides, rollout by rollout, before comparisons are counted. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.compare.common_episodes import Pairing, outcomes_of
from bench.compare.loss_evidence import LossEvidence, paired_evidence, unpaired_evidence
from bench.compare.sides import Place, Side, counted, rollouts_of, table_tallies, tallies
from bench.judge.missing import as_ranges
from bench.judge.pairing import contrast_steps
from bench.judge.stats.steps import StepsContrast
from bench.plan.seeds import derive_seed
from bench.record.external import Table
from bench.wording.text import listed
from wmvla.rollout.tally import Tally

UNPLAYED = "no common episode is finished in both"
LeftOut = tuple[str, str, str]
"""Later side, rollout, and why it cannot be compared."""


@dataclass(frozen=True)
class Candidate:
    """One rollout in the baseline and in a later run, or in a table that others measured."""

    other: str
    rollout: str
    label: str
    """Of the table; empty of a run."""
    paired: bool
    baseline: Tally
    """Of the episodes that are compared."""
    later: Tally
    missing: int
    """Episodes that either run still has to play."""
    evidence: Mapping[str, LossEvidence]
    """By reading."""
    won: int | None = None
    """Pairs that only the later run solved; None without pairs."""
    lost: int | None = None
    steps: StepsContrast | None = None


def paired_candidates(
    pairing: Pairing, baseline: Side, side: Side
) -> tuple[list[Candidate], list[LeftOut]]:
    """Every rollout that both plans have, on the episodes that both have finished."""
    assert side.run is not None
    assert baseline.run is not None
    found, left_out = [], []
    for rollout in rollouts_of(baseline.run):
        if rollout not in rollouts_of(side.run):
            left_out.append((side.name, rollout, "its plan does not have it"))
            continue
        outcomes = outcomes_of(pairing, baseline.run, side.run, rollout)
        if not len(outcomes.left):
            left_out.append((side.name, rollout, UNPLAYED))
            continue
        plan = pairing.plan
        seed = derive_seed(plan.hash, "comparison", side.run.plan.hash, rollout)
        evidence = paired_evidence(
            outcomes, plan.method.seeds == "resampled", plan.method.bootstrap_resamples, seed
        )
        differences = outcomes.readings()["failures"]
        found.append(
            Candidate(
                other=side.name,
                rollout=rollout,
                label="",
                paired=True,
                baseline=_tally(outcomes.right, outcomes.right_broken),
                later=_tally(outcomes.left, outcomes.left_broken),
                missing=_missing(baseline, rollout, set(pairing.index.values()), plan.seeds)
                + _missing(side, rollout, set(pairing.index), plan.seeds),
                evidence=evidence,
                won=int((differences > 0).sum()),
                lost=int((differences < 0).sum()),
                steps=contrast_steps(outcomes, plan.recipe.environment.max_steps),
            )
        )
    return found, left_out


def unpaired_candidates(baseline: Side, side: Side) -> tuple[list[Candidate], list[LeftOut]]:
    """Every rollout of the baseline that the other side has, on the tasks that both have."""
    assert baseline.run is not None
    found, left_out = [], []
    for rollout in rollouts_of(baseline.run):
        ours = tallies(baseline.run, rollout)
        if side.run is not None and rollout in rollouts_of(side.run):
            tasks = _common_tasks(ours, tallies(side.run, rollout), side.name)
            theirs = [("", tasks, _missing(side, rollout))]
        else:
            theirs = [
                (f"{table.label}, {table.suite}", _table_tasks(ours, table, side.name), 0)
                for table in (side.external.tables if side.external else ())
                if table.rollout == rollout
            ]
        if not theirs:
            left_out.append((side.name, rollout, f"{side.name} does not record it"))
        for label, tasks, missing in theirs:
            if isinstance(tasks, str):
                left_out.append((side.name, f"{rollout} ({label})" if label else rollout, tasks))
                continue
            found.append(
                Candidate(
                    other=side.name,
                    rollout=rollout,
                    label=label,
                    paired=False,
                    baseline=sum((one for one, _ in tasks), Tally()),
                    later=sum((other for _, other in tasks), Tally()),
                    missing=_missing(baseline, rollout) + missing,
                    evidence=unpaired_evidence(tasks),
                )
            )
    return found, left_out


def _common_tasks(
    ours: Mapping[Place, Tally], theirs: Mapping[Place, Tally], name: str
) -> list[tuple[Tally, Tally]] | str:
    """The tallies of the tasks that both have played, or why there are none."""
    common = [place for place in ours if place in theirs]
    if common:
        return [(ours[place], theirs[place]) for place in common]
    if not ours or not theirs:
        return f"{name if ours else 'the baseline'} has not finished any episode of it"
    return _other_tasks(ours, theirs)


def _table_tasks(
    ours: Mapping[Place, Tally], table: Table, name: str
) -> list[tuple[Tally, Tally]] | str:
    """The same against a table; a bare total is compared with the total of just those tasks."""
    if table.by_task:
        return _common_tasks(ours, table_tallies(table), name)
    places = {(table.suite, task) for task in table.tasks}
    if not places & set(ours):
        return _other_tasks(ours, sorted(places))
    if not places <= set(ours):
        return f"only the total of {len(places)} tasks is known, and the run plays other tasks"
    return [(sum((ours[place] for place in sorted(places)), Tally()), counted(table))]


def _other_tasks(ours: Iterable[Place], theirs: Iterable[Place]) -> str:
    """Why there are none: ``libero_object 7 and libero_spatial 0-9``, by suite."""
    names = []
    for tasks in (ours, theirs):
        by_suite: dict[str, list[int]] = {}
        for suite, task in tasks:
            by_suite.setdefault(suite, []).append(task)
        names.append(listed([f"{suite} {as_ranges(each)}" for suite, each in by_suite.items()]))
    return f"they play different tasks: {' and '.join(names)}"


def _missing(
    side: Side, rollout: str, rows: set[int] | None = None, seeds: Sequence[int] | None = None
) -> int:
    """Episodes that a run still has to play, of those rows and training seeds; none of a table."""
    if side.run is None:
        return 0
    return sum(
        rows is None or index in rows
        for case in side.run.plan.rollout_cases(rollout)
        if seeds is None or case.seed in seeds
        for index in side.missing.get(case.id, ())
    )


def _tally(won: NDArray[np.bool_], broken: NDArray[np.bool_]) -> Tally:
    """Pairs do not say which of the broken episodes ended in a timeout: all stand under errors."""
    return Tally(
        successes=int(won.sum()), failures=int((~won & ~broken).sum()), errors=int(broken.sum())
    )
