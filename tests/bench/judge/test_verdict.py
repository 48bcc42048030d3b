"""Verdicts: planted effects are found, absent ones are not, and nothing is concluded where nothing
may be."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_run import Outcome, core_plan, drawn_outcomes, plan_of, rows_by_case

from bench.judge.power import power_for
from bench.judge.rule import decide_equivalence, decide_superiority
from bench.judge.stats.difference import Interval
from bench.judge.stats.rates import wilson_interval
from bench.judge.verdict import ClaimResult, Verdict, judge
from bench.plan.document import Method, Plan
from bench.plan.episode_table import make_episode_table
from bench.plan.overrides import parse_overrides
from wmvla.errors import UserError

PLAN = core_plan(episodes=24)
LONG = core_plan(episodes=240)


def verdict_of(plan: Plan, outcomes: dict[str, list[Outcome]]) -> Verdict:
    return judge(plan, rows_by_case(plan, outcomes))


def claim_of(verdict: Verdict, claim_id: str) -> ClaimResult:
    return next(result for result in verdict.claims if result.claim.id == claim_id)


def mixed(wins: int, plan: Plan = PLAN) -> list[Outcome]:
    """The first `wins` episodes of the table succeed."""
    return [index < wins for index in range(len(plan.episodes))]


def planted(plan: Plan, base: float, gain: float, harm: float = 0.0) -> dict[str, list[Outcome]]:
    """E2-pred solves `gain` more of the episodes than E0, which solves the share `base`."""
    episodes = len(plan.episodes)
    baseline = mixed(round(base * episodes), plan)
    improved = mixed(round((base + gain) * episodes), plan)
    harmed = mixed(round((base - harm) * episodes), plan)
    return {
        "E0-none": baseline,
        "E1-zero": baseline,
        "E2-pred": improved,
        "E2-zero": baseline,
        "E2-random": harmed,
    }


def test_a_planted_effect_is_supported() -> None:
    verdict = verdict_of(LONG, planted(LONG, 0.6, 0.3))
    assert {result.claim.id: result.decision for result in verdict.claims} == {
        "E1 = E0": "SUPPORTED",
        "E2 > E0": "SUPPORTED",
        "pred > zero": "SUPPORTED",
        "random < pred": "SUPPORTED",
    }
    assert (verdict.decision, verdict.why) == ("SUPPORTED", "data")


def test_a_planted_effect_cannot_be_supported_where_equality_is_out_of_reach() -> None:
    """24 episodes show a gain of 40 points but no equality within 5: the whole stays open."""
    verdict = verdict_of(PLAN, planted(PLAN, 0.5, 0.4))
    assert claim_of(verdict, "E2 > E0").decision == "SUPPORTED"
    assert claim_of(verdict, "E1 = E0").decision == "INCONCLUSIVE"
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "data")


def test_no_effect_is_inconclusive_where_none_is_sought() -> None:
    claims = tuple(dataclasses.replace(claim, effect=None) for claim in LONG.claims)
    verdict = verdict_of(dataclasses.replace(LONG, claims=claims), planted(LONG, 0.6, 0.0))
    assert claim_of(verdict, "E1 = E0").decision == "SUPPORTED"
    assert claim_of(verdict, "E2 > E0").decision == "INCONCLUSIVE"
    assert verdict.decision == "INCONCLUSIVE"


def test_the_effect_that_core_seeks_is_excluded_by_pairs_that_all_agree() -> None:
    verdict = verdict_of(LONG, planted(LONG, 0.6, 0.0))
    assert claim_of(verdict, "E2 > E0").claim.effect == 0.05
    assert claim_of(verdict, "E2 > E0").decision == verdict.decision == "NOT SUPPORTED"


def test_harm_is_not_supported() -> None:
    verdict = verdict_of(LONG, planted(LONG, 0.8, -0.2))
    assert claim_of(verdict, "E2 > E0").decision == "NOT SUPPORTED"
    assert (verdict.decision, verdict.why) == ("NOT SUPPORTED", "data")


def test_broken_capacity_control_is_not_supported() -> None:
    outcomes = planted(LONG, 0.6, 0.3)
    outcomes["E1-zero"] = mixed(80, LONG)
    verdict = verdict_of(LONG, outcomes)
    assert claim_of(verdict, "E1 = E0").decision == "NOT SUPPORTED"
    assert verdict.decision == "NOT SUPPORTED"


def test_below_the_sanity_floor_nothing_is_concluded() -> None:
    verdict = verdict_of(LONG, planted(LONG, 0.3, 0.6))
    assert verdict.sanity.status == "failed"
    assert verdict.sanity.rate == pytest.approx(0.3)
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "sanity")
    assert {(result.decision, result.why) for result in verdict.claims} == {
        ("INCONCLUSIVE", "sanity")
    }


def test_the_sanity_floor_itself_passes() -> None:
    assert verdict_of(PLAN, planted(PLAN, 0.5, 0.0)).sanity.status == "passed"


@settings(max_examples=15)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 100))
def test_a_scale_that_cannot_conclude_never_does(base: float, pred: float, seed: int) -> None:
    plan = core_plan("smoke", episodes=40)
    rates = {"E0-none": base, "E1-zero": base, "E2-pred": pred, "E2-zero": base, "E2-random": base}
    verdict = verdict_of(plan, drawn_outcomes(plan, rates, seed))
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "scale")
    assert {result.decision for result in verdict.claims} == {"INCONCLUSIVE"}


def test_no_journals_at_all() -> None:
    verdict = judge(PLAN, {})
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "incomplete")
    assert verdict.sanity.status == "incomplete"
    assert (verdict.finished, verdict.planned) == (0, 120)
    assert all(
        result.contrast.estimate is None and not result.complete for result in verdict.claims
    )


def test_one_missing_episode_is_enough_to_conclude_nothing() -> None:
    outcomes = planted(LONG, 0.6, 0.3)
    outcomes["E2-random"] = [*outcomes["E2-random"][:-1], None]
    verdict = verdict_of(LONG, outcomes)
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "incomplete")
    assert claim_of(verdict, "random < pred").why == "incomplete"
    assert claim_of(verdict, "E2 > E0").decision == "SUPPORTED"


def test_pairs_are_the_episodes_that_both_have_finished() -> None:
    outcomes = {
        "E0-none": [True] * 10 + [None] * 14,
        "E2-pred": [None] * 4 + [True] * 10 + [False] * 10,
    }
    result = claim_of(verdict_of(PLAN, outcomes), "E2 > E0")
    assert result.contrast.pairs == 6
    assert result.contrast.estimate == 0.0


def test_claims_without_their_arm_are_not_asked() -> None:
    plan = core_plan(episodes=240, arms=("E0", "E1"))
    verdict = verdict_of(plan, {"E0-none": mixed(180, plan), "E1-zero": mixed(180, plan)})
    assert claim_of(verdict, "E1 = E0").decision == "SUPPORTED"
    assert claim_of(verdict, "E2 > E0").why == "not asked"
    assert claim_of(verdict, "E2 > E0").p_adjusted is None
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "not asked")


def test_without_the_baseline_the_gate_cannot_be_passed() -> None:
    plan = core_plan(episodes=240, arms=("E2",))
    verdict = verdict_of(
        plan, {"E2-pred": mixed(240, plan), "E2-zero": mixed(0, plan), "E2-random": mixed(0, plan)}
    )
    assert verdict.sanity.status == "not asked"
    assert (verdict.decision, verdict.why) == ("INCONCLUSIVE", "sanity")
    assert claim_of(verdict, "pred > zero").decision == "INCONCLUSIVE"


def test_errors_that_could_turn_the_decision_leave_it_open() -> None:
    outcomes = planted(LONG, 0.6, 0.1)
    assert claim_of(verdict_of(LONG, outcomes), "E2 > E0").decision == "SUPPORTED"
    outcomes["E0-none"] = [*outcomes["E0-none"][:144], *["error"] * 20, *outcomes["E0-none"][164:]]
    result = claim_of(verdict_of(LONG, outcomes), "E2 > E0")
    assert (result.decision, result.why, result.broken) == ("INCONCLUSIVE", "broken", 20)
    assert result.bounds == (pytest.approx(4 / 240), pytest.approx(24 / 240))
    rate = verdict_of(LONG, outcomes).rates[0]
    assert (rate.rate, rate.best_rate, rate.errors) == (
        pytest.approx(144 / 240),
        pytest.approx(164 / 240),
        20,
    )


def test_errors_that_change_nothing_do_not_matter() -> None:
    outcomes = planted(LONG, 0.6, 0.3)
    outcomes["E0-none"] = ["timeout", *outcomes["E0-none"][1:]]
    result = claim_of(verdict_of(LONG, outcomes), "E2 > E0")
    assert (result.decision, result.why, result.broken) == ("SUPPORTED", "data", 1)


def test_a_success_with_an_error_is_no_success() -> None:
    rows = rows_by_case(PLAN, planted(PLAN, 0.6, 0.1))
    rows["E0-none-s0"][0] |= {"status": "error"}
    assert judge(PLAN, rows).rates[0].successes == 13


def test_holm_is_over_the_asked_superiority_claims() -> None:
    verdict = verdict_of(LONG, planted(LONG, 0.6, 0.05, harm=0.2))
    gain, zero, noise = (
        claim_of(verdict, claim) for claim in ("E2 > E0", "pred > zero", "random < pred")
    )
    assert noise.p_adjusted == pytest.approx(3 * noise.contrast.p)
    assert gain.p_adjusted == zero.p_adjusted == pytest.approx(2 * gain.contrast.p)
    assert claim_of(verdict, "E1 = E0").p_adjusted is None


def test_seeds_are_pooled_and_shown_apart() -> None:
    plan = core_plan(episodes=24, seeds=(0, 1, 2))
    outcomes = {case.id: mixed(12 + 4 * int(case.seed or 0), plan) for case in plan.rollout_cases()}
    verdict = verdict_of(plan, outcomes)
    assert verdict.rates[0].rate == pytest.approx(48 / 72)
    assert [rate.successes for rate in verdict.seed_rates if rate.rollout == "E0-none"] == [
        12,
        16,
        20,
    ]
    assert claim_of(verdict, "E2 > E0").contrast.pairs == 72
    one_missing = dict(outcomes)
    del one_missing["E0-none-s2"]
    assert claim_of(verdict_of(plan, one_missing), "E2 > E0").contrast.pairs == 48


def test_rates_by_task_add_up() -> None:
    plan = plan_of("core", "full", episodes=4)
    outcomes = {"E0-none": [index % 3 > 0 for index in range(40)], "E2-pred": [True] * 40}
    verdict = verdict_of(plan, outcomes)
    by_task = [rate for rate in verdict.task_rates if rate.rollout == "E0-none"]
    assert [rate.task for rate in by_task] == list(range(10))
    assert [rate.successes for rate in by_task] == [
        sum(outcomes["E0-none"][4 * t : 4 * t + 4]) for t in range(10)
    ]
    assert all(
        rate.interval == wilson_interval(rate.successes, 4, 0.95) and rate.planned == 4
        for rate in by_task
    )
    assert sum(rate.successes for rate in by_task) == verdict.rates[0].successes
    assert len(verdict.task_rates) == 50


def seed_outcomes(plan: Plan, gains: dict[int, int]) -> dict[str, list[Outcome]]:
    """E2-pred solves so many episodes more than the others, by training seed."""
    return {
        case.id: mixed(60 + (gains[int(case.seed or 0)] if case.mode == "pred" else 0), plan)
        for case in plan.rollout_cases()
    }


def test_seeds_that_agree_are_supported_and_seeds_that_do_not_are_not() -> None:
    """The same 60 wins in all: 20 by each of three seeds, or 36, 24 and none."""
    plan = core_plan(episodes=96, seeds=(0, 1, 2))
    assert plan.method.seeds == "resampled"
    alike = claim_of(verdict_of(plan, seed_outcomes(plan, {0: 20, 1: 20, 2: 20})), "E2 > E0")
    apart = claim_of(verdict_of(plan, seed_outcomes(plan, {0: 36, 1: 24, 2: 0})), "E2 > E0")
    assert alike.contrast.estimate == apart.contrast.estimate
    assert (alike.decision, apart.decision) == ("SUPPORTED", "INCONCLUSIVE")
    assert apart.p_adjusted is not None
    assert apart.p_adjusted < 0.05
    assert apart.contrast.interval.upper - apart.contrast.interval.lower > 2 * (
        alike.contrast.interval.upper - alike.contrast.interval.lower
    )
    assert alike.contrast.design_effect == 1.0
    assert apart.contrast.design_effect > 5
    pooled = dataclasses.replace(plan, method=Method())
    assert (
        claim_of(verdict_of(pooled, seed_outcomes(plan, {0: 36, 1: 24, 2: 0})), "E2 > E0").decision
        == "SUPPORTED"
    )


def test_an_effect_that_is_sought_can_be_excluded() -> None:
    """Equal rollouts: 240 pairs would have found 10 points and exclude them; 2 points they would
    not have found."""
    for effect, expected in (
        (0.1, "NOT SUPPORTED"),
        (0.02, "INCONCLUSIVE"),
        (None, "INCONCLUSIVE"),
    ):
        claims = tuple(
            dataclasses.replace(c, effect=effect) if c.id == "E2 > E0" else c for c in LONG.claims
        )
        plan = dataclasses.replace(LONG, claims=claims)
        assert claim_of(verdict_of(plan, planted(plan, 0.6, 0.0)), "E2 > E0").decision == expected
        assert (
            claim_of(verdict_of(plan, planted(plan, 0.6, 0.2)), "E2 > E0").decision == "SUPPORTED"
        )


def test_repeats_that_end_alike_cost_power() -> None:
    """48 pairs, but 12 initial states that always end as they do: the power is that of 12."""
    recipe = PLAN.recipe
    few = dataclasses.replace(
        recipe, rollout=dataclasses.replace(recipe.rollout, inits=tuple(range(12)), episodes=48)
    )
    claims = tuple(
        dataclasses.replace(c, effect=0.4) if c.id == "E2 > E0" else c for c in PLAN.claims
    )
    plan = dataclasses.replace(PLAN, recipe=few, episodes=make_episode_table(few), claims=claims)
    won = [True, False, True] * 4
    lost = [False, True, True] * 4
    result = claim_of(verdict_of(plan, {"E2-pred": won * 4, "E0-none": lost * 4}), "E2 > E0")
    assert result.contrast.design_effect == pytest.approx(4 * (12 / 11) * (47 / 48))
    alone = dataclasses.replace(result.discordance, design_effect=1.0)
    assert result.power is not None
    assert result.power < 0.5 < (power_for(plan, result.claim, alone) or 0)


def test_steps_to_success_decide_nothing() -> None:
    """E2-pred is twice as quick in every episode, and no claim moves."""
    rows = rows_by_case(LONG, planted(LONG, 0.6, 0.0))
    before = judge(LONG, rows)
    for row in rows["E2-pred-s0"]:
        row["steps"] = row["steps"] // 2 if row["success"] else row["steps"]
    after = judge(LONG, rows)
    assert [claim.decision for claim in after.claims] == [claim.decision for claim in before.claims]
    steps = claim_of(after, "E2 > E0").steps
    assert steps is not None
    assert (steps.quicker, steps.slower, steps.alike) == (144, 0, 96)
    assert steps.p < 1e-6


def test_every_arm_plays_the_same_number_of_episodes() -> None:
    """There is one table: a claim between rollouts of unequal numbers cannot be planned, and
    nothing is concluded from one."""
    with pytest.raises(UserError, match="give one number for every arm"):
        parse_overrides(episodes="24,48")
    verdict = verdict_of(
        LONG, planted(LONG, 0.6, 0.3) | {"E2-pred": [*mixed(200, LONG)[:200], *[None] * 40]}
    )
    assert (verdict.decision, claim_of(verdict, "E2 > E0").why) == ("INCONCLUSIVE", "incomplete")


def test_repeats_of_one_init_are_one_cluster() -> None:
    """Six inits won, all repeats alike: with four repeats the evidence is still that of six."""
    init_wins = [[True] * 12, [False] * 6 + [True] * 6]
    recipe = PLAN.recipe
    few = dataclasses.replace(
        recipe, rollout=dataclasses.replace(recipe.rollout, inits=tuple(range(12)), episodes=48)
    )
    plan = dataclasses.replace(PLAN, recipe=few, episodes=make_episode_table(few))
    outcomes = {"E2-pred": init_wins[0] * 4, "E0-none": init_wins[1] * 4}
    result = claim_of(verdict_of(plan, outcomes), "E2 > E0")
    assert result.contrast.left_only == 24
    assert result.contrast.p == pytest.approx(0.5**6)
    assert result.p_two_sided < 1e-6


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_judging_is_repeatable(seed: int) -> None:
    rates = {"E0-none": 0.7, "E1-zero": 0.7, "E2-pred": 0.8, "E2-zero": 0.7, "E2-random": 0.6}
    outcomes = drawn_outcomes(PLAN, rates, seed)
    one, other = verdict_of(PLAN, outcomes), verdict_of(PLAN, outcomes)
    assert dataclasses.replace(one, claims=()) == dataclasses.replace(other, claims=())
    for result, again in zip(one.claims, other.claims, strict=True):
        assert dataclasses.replace(result, contrast=again.contrast) == again
        found, same = result.contrast, again.contrast
        assert (found.interval, found.tost_interval, found.p, found.design_effect) == (
            same.interval,
            same.tost_interval,
            same.p,
            same.design_effect,
        )


def test_false_superiority_is_rare() -> None:
    """Without any effect, three claims together are SUPPORTED once in at most 5 % of 200 made-up
    runs."""
    rates = dict.fromkeys(("E0-none", "E1-zero", "E2-pred", "E2-zero", "E2-random"), 0.7)
    plan = dataclasses.replace(
        PLAN, method=dataclasses.replace(PLAN.method, bootstrap_resamples=200)
    )
    false = sum(
        any(
            result.decision == "SUPPORTED"
            for result in verdict_of(plan, drawn_outcomes(plan, rates, seed)).claims
        )
        for seed in range(200)
    )
    assert false <= 10


def test_deciding_superiority() -> None:
    assert decide_superiority(Interval(-0.1, 0.2, 0.95)) == "INCONCLUSIVE"
    assert decide_superiority(Interval(-0.2, 0.0, 0.95)) == "NOT SUPPORTED"
    near = Interval(-0.04, 0.04, 0.95)
    assert decide_superiority(near, effect=0.05, power=0.8) == "NOT SUPPORTED"
    assert decide_superiority(near, effect=0.05, power=0.79) == "INCONCLUSIVE"
    assert decide_superiority(near, effect=0.04, power=0.99) == "INCONCLUSIVE"


def test_deciding_equivalence() -> None:
    inside, outside, across = (
        Interval(-0.04, 0.03, 0.9),
        Interval(0.05, 0.2, 0.95),
        Interval(-0.1, 0.03, 0.95),
    )
    assert decide_equivalence(inside, across, 0.05) == "SUPPORTED"
    assert decide_equivalence(across, across, 0.05) == "INCONCLUSIVE"
    assert decide_equivalence(outside, outside, 0.05) == "NOT SUPPORTED"
    assert decide_equivalence(across, Interval(-0.2, -0.05, 0.95), 0.05) == "NOT SUPPORTED"
