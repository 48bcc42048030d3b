"""What can be compared of two sides, rollout by rollout, before it is known how many comparisons
there are. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare import reasons as reasons
from bench.compare.common_episodes import Pairing, outcomes_of
from bench.compare.loss_evidence import Evidence, paired_evidence, unpaired_evidence
from bench.compare.parity import Run
from bench.compare.sides import Place, Side, Tally, rollouts_of, table_tallies, tallies
from bench.judge.missing import as_ranges, missing_episodes
from bench.judge.pairing import Outcomes, contrast_steps
from bench.judge.stats.steps import StepsContrast
from bench.plan.seeds import derive_seed
from bench.record.external import Table

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
    evidence: Mapping[str, Evidence]
    """By reading."""
    won: int | None = None
    """Pairs that only the later run solved; None without pairs."""
    lost: int | None = None
    steps: StepsContrast | None = None


def paired_candidates(
    pairing: Pairing, baseline: Run, side: Side
) -> tuple[list[Candidate], list[LeftOut]]:
    """Every rollout that both plans have, on the episodes that both have finished."""
    assert side.run is not None
    found, left_out = [], []
    for rollout in rollouts_of(baseline):
        if rollout not in rollouts_of(side.run):
            left_out.append((side.name, rollout, reasons.not_in_its_plan()))
            continue
        outcomes = outcomes_of(pairing, baseline, side.run, rollout)
        if not len(outcomes.left):
            left_out.append((side.name, rollout, reasons.no_pair_yet()))
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
                baseline=_tally(outcomes, "right"),
                later=_tally(outcomes, "left"),
                missing=_missing(baseline, rollout, set(pairing.index.values()), plan.seeds)
                + _missing(side.run, rollout, set(pairing.index), plan.seeds),
                evidence=evidence,
                won=int((differences > 0).sum()),
                lost=int((differences < 0).sum()),
                steps=contrast_steps(outcomes, plan.recipe.environment.max_steps),
            )
        )
    return found, left_out


def unpaired_candidates(baseline: Run, side: Side) -> tuple[list[Candidate], list[LeftOut]]:
    """Every rollout of the baseline that the other side tells, on the tasks that both have."""
    found, left_out = [], []
    for rollout in rollouts_of(baseline):
        ours = tallies(baseline, rollout)
        if side.run is not None and rollout in rollouts_of(side.run):
            tasks = _common_tasks(ours, tallies(side.run, rollout), side.name)
            told = [("", tasks, _missing(side.run, rollout))]
        elif side.external is not None:
            tables = [table for table in side.external.tables if table.rollout == rollout]
            told = [
                (f"{table.label}, {table.suite}", _table_tasks(ours, table, side.name), 0)
                for table in tables
            ]
        else:
            told = []
        if not told:
            left_out.append((side.name, rollout, reasons.not_told(side.name)))
        for label, tasks, missing in told:
            if isinstance(tasks, str):
                left_out.append((side.name, f"{rollout} ({label})" if label else rollout, tasks))
                continue
            found.append(
                Candidate(
                    other=side.name,
                    rollout=rollout,
                    label=label,
                    paired=False,
                    baseline=_sum([one for one, _ in tasks]),
                    later=_sum([other for _, other in tasks]),
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
        return reasons.no_episode_yet(name if ours else "the baseline")
    return reasons.other_tasks(_told(ours), _told(theirs))


def _table_tasks(
    ours: Mapping[Place, Tally], table: Table, name: str
) -> list[tuple[Tally, Tally]] | str:
    """The same against a table; one that tells a total alone is held against the total of just
    those tasks."""
    if table.by_task:
        return _common_tasks(ours, table_tallies(table), name)
    places = {(table.suite, task) for task in table.tasks}
    if not places & set(ours):
        return reasons.other_tasks(_told(ours), _told(dict.fromkeys(sorted(places), Tally(0, 0))))
    if not places <= set(ours):
        return reasons.total_of_other_tasks(len(places))
    return [
        (_sum([ours[place] for place in sorted(places)]), Tally(table.successes, table.episodes))
    ]


def _told(tasks: Mapping[Place, Tally]) -> list[str]:
    """``libero_object 7`` or ``libero_spatial 0-9``, by suite."""
    by_suite: dict[str, list[int]] = {}
    for suite, task in tasks:
        by_suite.setdefault(suite, []).append(task)
    return [f"{suite} {as_ranges(numbers)}" for suite, numbers in by_suite.items()]


def _missing(
    run: Run, rollout: str, rows: set[int] | None = None, seeds: Sequence[int] | None = None
) -> int:
    """Episodes that a run still has to play, of those rows and training seeds."""
    lacking = missing_episodes(run.plan, run.rows)
    cases = [
        case for case in run.plan.rollout_cases(rollout) if seeds is None or case.seed in seeds
    ]
    return sum(
        rows is None or index in rows for case in cases for index in lacking.get(case.id, ())
    )


def _tally(outcomes: Outcomes, side: str) -> Tally:
    solved, broken = getattr(outcomes, side), getattr(outcomes, f"{side}_broken")
    return Tally(int(solved.sum()), len(solved), int(broken.sum()))


def _sum(tallies: Sequence[Tally]) -> Tally:
    return Tally(
        *(
            sum(getattr(each, name) for each in tallies)
            for name in ("successes", "episodes", "broken")
        )
    )
