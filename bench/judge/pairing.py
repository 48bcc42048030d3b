"""Episodes of two rollouts, paired by row of the episode table and training seed."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bench.judge.stats.difference import (
    Interval,
    bootstrap_differences,
    bootstrap_interval,
    hull,
    numbered,
    score_interval,
    tost_confidence,
)
from bench.judge.stats.mcnemar import cluster_flip_one_sided
from bench.judge.stats.power import design_effect
from bench.judge.stats.steps import StepsContrast, compare_steps
from bench.plan.document import Plan
from wmvla.rollout.journal import Row, values
from wmvla.rollout.tally import ERROR, SUCCESS, ends

RowsByCase = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Outcomes:
    """What two rollouts did in the same episodes. All arrays have shape (pairs,)."""

    left: NDArray[np.bool_]
    """Success, where an episode with an error or a timeout counts as a failure."""
    right: NDArray[np.bool_]
    left_broken: NDArray[np.bool_]
    """The episode ended in an error or a timeout: its success is not known."""
    right_broken: NDArray[np.bool_]
    clusters: NDArray[np.int64]
    """Equal for pairs of one (training seed, task, init)."""
    seeds: NDArray[np.int64]
    """Training seed."""
    left_steps: NDArray[np.int64]
    """Control steps until the episode ended."""
    right_steps: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Index of the episode in the plan's table."""

    @property
    def broken(self) -> int:
        return int((self.left_broken | self.right_broken).sum())

    def among(self, chosen: NDArray[np.bool_]) -> "Outcomes":
        """Of the pairs whose row of the table is `chosen`, shape (rows of the table,)."""
        kept = {field.name: getattr(self, field.name)[chosen[self.rows]] for field in fields(self)}
        kept["clusters"] = numbered(kept["clusters"])
        return Outcomes(**kept)

    def readings(self) -> dict[str, NDArray[np.int64]]:
        """left - right of each pair, with the broken episodes read in each of three ways.
        ``failures``: all as failures, which is what is shown. ``against``, ``for``: as bad and as
        good for the left rollout as can be. The truth lies between the last two."""
        best_left, best_right = self.left | self.left_broken, self.right | self.right_broken
        return {
            "failures": _minus(self.left, self.right),
            "against": _minus(self.left, best_right),
            "for": _minus(best_left, self.right),
        }


@dataclass(frozen=True, eq=False)
class Contrast:
    """A paired difference with its intervals and its one-sided exact test. What takes long waits
    until it is asked for: a reading of broken episodes that a test decides needs no interval."""

    differences: NDArray[np.int64]
    """left - right of each pair, shape (pairs,)."""
    clusters: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    """What is resampled before the clusters, if at all: the training seed of each pair."""
    alpha: float
    confidences: tuple[float, float]
    """At which the two intervals are computed: what keeps theirs over all looks."""
    resamples: int
    seed: int

    @property
    def pairs(self) -> int:
        return len(self.differences)

    @functools.cached_property
    def left_only(self) -> int:
        return int((self.differences > 0).sum())

    @functools.cached_property
    def right_only(self) -> int:
        return int((self.differences < 0).sum())

    @property
    def estimate(self) -> float | None:
        return (self.left_only - self.right_only) / self.pairs if self.pairs else None

    @property
    def interval(self) -> Interval:
        """At 1 - alpha."""
        return replace(self._intervals[0], confidence=1 - self.alpha)

    @property
    def tost_interval(self) -> Interval:
        """At 1 - 2 alpha."""
        return replace(self._intervals[1], confidence=tost_confidence(self.alpha))

    @functools.cached_property
    def p(self) -> float:
        """One-sided, left > right, clusters flipped whole."""
        sums = np.bincount(self.clusters, weights=self.differences).astype(np.int64)
        return cluster_flip_one_sided(sums) if self.pairs else 1.0

    @functools.cached_property
    def design_effect(self) -> float:
        """How many pairs are worth one independent pair."""
        labels = (self.clusters, self.groups)
        return max(design_effect(self.differences, each) for each in labels if each is not None)

    @functools.cached_property
    def _intervals(self) -> list[Interval]:
        left, right, pairs = self.left_only, self.right_only, self.pairs
        intervals = [score_interval(left, right, pairs, level) for level in self.confidences]
        if not pairs:
            return intervals
        resampled = bootstrap_differences(
            self.differences, self.clusters, self.resamples, self.seed, self.groups
        )
        return [hull(one, bootstrap_interval(resampled, one.confidence)) for one in intervals]


def pair_outcomes(plan: Plan, rows_by_case: RowsByCase, left: str, right: str) -> Outcomes:
    """Every episode that both rollouts have finished, over all training seeds, in table order."""
    return pair_all(plan, rows_by_case, [(left, right)])[0]


def pair_all(
    plan: Plan, rows_by_case: RowsByCase, pairs: Sequence[tuple[str, str]]
) -> list[Outcomes]:
    """`pair_outcomes` of several (left, right), with each rollout's rows read once."""
    table = _Table(plan)
    found = {
        name: _Played.read(table, [rows_by_case.get(f"{name}-s{seed}", ()) for seed in plan.seeds])
        for name in dict.fromkeys(name for pair in pairs for name in pair)
    }
    return [table.pair(found[left], found[right]) for left, right in pairs]


@dataclass(frozen=True)
class _Played:
    """What one rollout did in every episode; arrays (training seeds, rows of the table)."""

    finished: NDArray[np.bool_]
    success: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    steps: NDArray[np.int64]

    @classmethod
    def read(cls, table: "_Table", rows_by_seed: Sequence[Sequence[Row]]) -> "_Played":
        columns = np.zeros((4, len(rows_by_seed), table.size), dtype=np.int64)
        for seed, rows in enumerate(rows_by_seed):
            index, ended = values(rows, "index"), ends(rows)
            inside = (index >= 0) & (index < table.size)
            columns[:, seed, index[inside]] = np.stack(
                [np.ones_like(ended), ended == SUCCESS, ended >= ERROR, values(rows, "steps")]
            )[:, inside]
        finished, success, trouble, steps = columns[:, :, table.index]
        return cls(finished.astype(bool), success.astype(bool), trouble.astype(bool), steps)


class _Table:
    """The episodes of a plan as arrays: `index` and `cluster` of shape (rows of the table,)."""

    def __init__(self, plan: Plan) -> None:
        table = plan.table
        self.seeds = np.array(plan.seeds, dtype=np.int64)
        self.index = table["index"]
        self.size = int(self.index.max(initial=-1)) + 1
        self.cluster = numbered(table["task"] * (table["init"].max(initial=0) + 1) + table["init"])
        self.states = int(self.cluster.max(initial=-1)) + 1

    def pair(self, left: _Played, right: _Played) -> Outcomes:
        both = left.finished & right.finished
        seed, place = np.nonzero(both)
        return Outcomes(
            left=left.success[both],
            right=right.success[both],
            left_broken=left.broken[both],
            right_broken=right.broken[both],
            clusters=numbered(seed * self.states + self.cluster[place]),
            seeds=self.seeds[seed],
            left_steps=left.steps[both],
            right_steps=right.steps[both],
            rows=self.index[place],
        )


def contrast_steps(outcomes: Outcomes, most_steps: int) -> StepsContrast | None:
    """How fast the two rollouts succeed; whatever is no success is slower than any."""
    left, right, clusters = outcomes.left_steps, outcomes.right_steps, outcomes.clusters
    return compare_steps(left, right, outcomes.left, outcomes.right, clusters, most_steps)


def _minus(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.int64]:
    return one.astype(np.int64) - other.astype(np.int64)
