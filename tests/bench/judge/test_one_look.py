"""A plan of fixed size is a plan with one look: it is judged as Holm's procedure over exact p values
would judge it."""

import dataclasses
from collections.abc import Mapping, Sequence
from operator import attrgetter

from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_run import Outcome, plan_of, rows_by_case

from bench.judge.pairing import Contrast, pair_outcomes
from bench.judge.rule import decide
from bench.judge.stats.difference import tost_confidence
from bench.judge.verdict import judge
from bench.plan.document import Plan
from bench.plan.episode_table import make_episode_table
from bench.plan.seeds import derive_seed
from bench.plan.suite import Decision, rollout_names
from wmvla.rollout.journal import Row

READINGS = ("failures", "against", "for")
FIGURES = attrgetter(
    "pairs", "left_only", "right_only", "interval", "tost_interval", "p", "design_effect"
)


def small(
    alpha: float, states: int, repeats: int, seeds: tuple[int, ...], arms: tuple[str, ...] | None
) -> Plan:
    plan = plan_of("core", "mini", seeds=seeds, arms=arms)
    recipe = dataclasses.replace(
        plan.recipe,
        rollout=dataclasses.replace(
            plan.recipe.rollout, inits=tuple(range(states)), episodes=states * repeats
        ),
    )
    return dataclasses.replace(
        plan,
        alpha=alpha,
        recipe=recipe,
        episodes=make_episode_table(recipe),
        method=dataclasses.replace(plan.method, bootstrap_resamples=50),
        sanity=dataclasses.replace(plan.sanity, floor=0.0),
    )


def by_p_values(
    plan: Plan, rows: Mapping[str, Sequence[Row]]
) -> list[tuple[Contrast, float | None, set[Decision], bool]]:
    """Of each claim the contrast, the adjusted p, the decisions under all readings, and whether it
    has all its pairs."""
    levels = 1 - plan.alpha, tost_confidence(plan.alpha)
    contrasts: list[dict[str, Contrast]] = []
    for claim in plan.claims:
        pairs = pair_outcomes(plan, rows, claim.left, claim.right)
        groups = pairs.seeds if len(plan.seeds) > 1 else None
        seed = derive_seed(plan.hash, "bootstrap", claim.id)
        contrasts.append(
            {
                reading: Contrast(differences, pairs.clusters, groups, plan.alpha, levels, 50, seed)
                for reading, differences in pairs.readings().items()
            }
        )
    family = [
        i for i, claim in enumerate(plan.claims) if claim.asked and claim.kind != "equivalence"
    ]
    adjusted: dict[tuple[int, str], float] = {}
    for reading in READINGS:
        largest = 0.0
        for rank, i in enumerate(sorted(family, key=lambda i: contrasts[i][reading].p)):
            largest = max(largest, (len(family) - rank) * contrasts[i][reading].p)
            adjusted[i, reading] = min(largest, 1.0)
    return [
        (
            contrasts[i]["failures"],
            adjusted.get((i, "failures")),
            {
                decide(
                    plan,
                    claim,
                    contrasts[i][reading],
                    adjusted.get((i, reading), 1.0) <= plan.alpha,
                )[0]
                for reading in READINGS
            },
            claim.asked and contrasts[i]["failures"].pairs == len(plan.seeds) * len(plan.episodes),
        )
        for i, claim in enumerate(plan.claims)
    ]


OUTCOMES: list[Outcome] = [True, False, "error", "timeout", None]


@settings(max_examples=150, deadline=None)
@given(
    alpha=st.sampled_from([0.01, 0.05, 0.1, 0.2]),
    states=st.integers(1, 6),
    repeats=st.integers(1, 3),
    seeds=st.sampled_from([(0,), (0, 1)]),
    arms=st.sampled_from([None, ("E0", "E2"), ("E0",)]),
    shares=st.lists(st.floats(0, 1), min_size=5, max_size=5),
    troubles=st.sampled_from([(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.05, 0.05)]),
    random=st.randoms(use_true_random=False),
)
def test_one_look_is_the_exact_test_with_holms_procedure(
    alpha: float,
    states: int,
    repeats: int,
    seeds: tuple[int, ...],
    arms: tuple[str, ...] | None,
    shares: list[float],
    troubles: tuple[float, float],
    random: object,
) -> None:
    plan = small(alpha, states, repeats, seeds, arms)
    rates = dict(zip(rollout_names(plan_of("core").arms), shares, strict=True))
    broken, lacking = troubles
    outcomes = {
        case.id: [
            random.choices(  # type: ignore[attr-defined]
                OUTCOMES,
                [
                    (1 - broken - lacking) * rates[case.rollout],
                    (1 - broken - lacking) * (1 - rates[case.rollout]),
                    broken / 2,
                    broken / 2,
                    lacking,
                ],
            )[0]
            for _ in plan.episodes
        ]
        for case in plan.rollout_cases()
    }
    missing = any(None in played for played in outcomes.values())
    rows = rows_by_case(plan, outcomes)
    for result, (found, p, decisions, whole) in zip(
        judge(plan, rows).claims, by_p_values(plan, rows), strict=True
    ):
        assert FIGURES(result.contrast) == FIGURES(found)
        assert result.p_adjusted == p
        assert result.planned == len(plan.seeds) * len(plan.episodes)
        assert result.complete == (found.pairs == result.planned)
        if result.why in ("data", "broken"):
            assert whole
            assert result.decision == (decisions.pop() if len(decisions) == 1 else "INCONCLUSIVE")
        else:
            assert result.why == "not asked" or not whole or arms is not None or missing
