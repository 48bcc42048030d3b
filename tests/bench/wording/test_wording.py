"""Sentences: each says the decision that was made, in one sentence, about whom it is."""

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_run import Outcome, core_plan, drawn_outcomes, plan_of, rows_by_case

from bench.judge.power import Discordance, SuperiorityLimit, limit_of, measured_discordance
from bench.judge.stats.difference import Interval
from bench.judge.stats.steps import StepsContrast
from bench.judge.verdict import judge
from bench.plan.document import Method, Plan
from bench.plan.suite import rollout_names
from bench.wording import notes, numbers, plans, verdicts

LONG = core_plan(episodes=240)


def told(plan: Plan, outcomes: dict[str, list[Outcome]]) -> str:
    return verdicts.verdict_sentence(plan, judge(plan, rows_by_case(plan, outcomes)))


def first(wins: int, plan: Plan) -> list[Outcome]:
    return [index < wins for index in range(len(plan.episodes))]


def outcomes(plan: Plan, none: int, zero: int, pred: int, random: int) -> dict[str, list[Outcome]]:
    return {
        "E0-none": first(none, plan),
        "E1-zero": first(none, plan),
        "E2-pred": first(pred, plan),
        "E2-zero": first(zero, plan),
        "E2-random": first(random, plan),
    }


def test_supported() -> None:
    assert (
        told(LONG, outcomes(LONG, 150, 150, 220, 100))
        == "SUPPORTED: all 4 claims hold for these checkpoints (one training seed)."
    )


def test_supported_for_several_seeds() -> None:
    plan = core_plan(episodes=96, seeds=(0, 1, 2))
    assert (
        told(plan, outcomes(plan, 60, 60, 90, 30))
        == "SUPPORTED: all 4 claims hold for these checkpoints (3 training seeds, resampled)."
    )


def test_how_many_seeds_speak_for_others() -> None:
    one, three, ten = (core_plan(episodes=24, seeds=tuple(range(number))) for number in (1, 3, 10))
    assert verdicts.these_checkpoints(one) == "these checkpoints (one training seed)"
    assert verdicts.these_checkpoints(three) == "these checkpoints (3 training seeds, resampled)"
    assert verdicts.these_checkpoints(ten) == "this way of training (10 training seeds, resampled)"
    assert "3 seeds all point to the same side once in 4 times" in verdicts.seeds_note(three)
    assert "chance" not in verdicts.seeds_note(ten)
    pooled = dataclasses.replace(three, method=Method())
    assert verdicts.these_checkpoints(pooled) == "these checkpoints (3 training seeds, pooled)"
    assert "3 seeds do not measure how much training varies" in verdicts.seeds_note(pooled)


def test_not_supported() -> None:
    assert told(LONG, outcomes(LONG, 200, 200, 150, 100)) == (
        'NOT SUPPORTED: the episodes exclude the difference that "E2 > E0" and "pred > zero"'
        " would need, for these checkpoints (one training seed)."
    )


def test_no_claim_was_asked() -> None:
    plan = core_plan(episodes=24, arms=("E0",))
    assert (
        told(plan, {"E0-none": first(20, plan)})
        == "INCONCLUSIVE: no claim was asked, because arms that the claims need were left out."
    )


def without_effects(plan: Plan) -> Plan:
    return dataclasses.replace(
        plan, claims=tuple(dataclasses.replace(claim, effect=None) for claim in plan.claims)
    )


def test_inconclusive_by_the_data() -> None:
    assert (
        told(without_effects(LONG), outcomes(LONG, 200, 200, 202, 100))
        == 'INCONCLUSIVE: 2 of 4 claims hold; the episodes neither show nor exclude "E2 > E0" and'
        ' "pred > zero".'
    )


def test_many_claims_are_counted_and_not_named() -> None:
    fusion = without_effects(plan_of("fusion", episodes=240))
    equal = {rollout: first(200, fusion) for rollout in rollout_names(fusion.arms)}
    assert (
        told(fusion, equal)
        == "INCONCLUSIVE: none of 12 claims is decided; the episodes neither show nor exclude any"
        " of them."
    )
    assert (
        told(fusion, equal | {"E2-pred": first(240, fusion)})
        == "INCONCLUSIVE: 2 of 12 claims hold; the episodes neither show nor exclude the other 10."
    )
    harmed = {
        rollout: first(10, fusion) if rollout.endswith("-pred") else rows
        for rollout, rows in equal.items()
    }
    assert told(fusion, harmed) == (
        "NOT SUPPORTED: the episodes exclude the difference that 12 claims would need, for these"
        " checkpoints (one training seed)."
    )


def test_held_out_figures_are_missing_for_a_reason() -> None:
    plan = core_plan()
    assert notes.replays_note(plan, 2) is None
    assert notes.replays_note(plan, 1) == "1 of 2 trainings were replayed so far."
    assert "no held-out demonstrations" in str(notes.replays_note(core_plan("full"), 0))
    assert "no arm with world memory" in str(notes.replays_note(core_plan(arms=("E0",)), 0))


def test_inconclusive_by_the_sanity_gate() -> None:
    assert (
        told(LONG, outcomes(LONG, 24, 24, 200, 10))
        == "INCONCLUSIVE: E0-none solves only 10.0 % of its episodes; below 50 % nothing may be"
        " concluded."
    )


def test_inconclusive_because_unfinished() -> None:
    assert (
        told(LONG, {"E0-none": first(200, LONG)})
        == "INCONCLUSIVE: 240 of 1200 episodes are finished; nothing is concluded before all are."
    )


def test_inconclusive_because_of_errors() -> None:
    broken = outcomes(LONG, 150, 150, 220, 100)
    broken["E2-zero"] = [*broken["E2-zero"][:150], *["error"] * 68, *broken["E2-zero"][218:]]
    assert (
        told(LONG, broken)
        == 'INCONCLUSIVE: 3 of 4 claims hold; errors or timeouts leave "pred > zero" open.'
    )


def test_inconclusive_because_an_arm_was_left_out() -> None:
    plan = core_plan(episodes=240, arms=("E0", "E1"))
    assert (
        told(plan, {"E0-none": first(200, plan), "E1-zero": first(200, plan)})
        == 'INCONCLUSIVE: 1 of 1 claims holds; "E2 > E0", "pred > zero" and "random < pred" were'
        " not asked, because an arm was left out."
    )


def test_smoke_concludes_nothing() -> None:
    plan = core_plan("smoke")
    sentence = told(
        plan,
        drawn_outcomes(
            plan, dict.fromkeys(("E0-none", "E1-zero", "E2-pred", "E2-zero", "E2-random"), 1.0)
        ),
    )
    assert sentence.startswith(
        "INCONCLUSIVE: nothing can be concluded at scale smoke: every stage once"
    )


@settings(max_examples=15)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
def test_every_claim_is_told_in_whole_sentences(base: float, pred: float, seed: int) -> None:
    plan = core_plan(episodes=24)
    rates = {"E0-none": base, "E1-zero": base, "E2-pred": pred, "E2-zero": base, "E2-random": base}
    verdict = judge(plan, rows_by_case(plan, drawn_outcomes(plan, rates, seed)))
    for result in verdict.claims:
        sentence = verdicts.claim_sentence(plan, result)
        assert re.fullmatch(r"[A-Z].*\.", sentence)
        assert "None" not in sentence
        assert "nan" not in sentence
        assert re.fullmatch(
            r"[A-Z].*\.", plans.limit_sentence(limit_of(plan, result.claim, result.discordance))
        )


def seeking(effect: float, episodes: int) -> Plan:
    """Core with a claim "E2 > E0" that seeks a gain."""
    plan = core_plan(episodes=episodes)
    claims = tuple(
        dataclasses.replace(c, effect=effect) if c.id == "E2 > E0" else c for c in plan.claims
    )
    return dataclasses.replace(plan, claims=claims)


def meaning(plan: Plan, pred: list[Outcome], none: list[Outcome]) -> str:
    """What is said of "E2 > E0" after its figures."""
    rollouts = {
        "E0-none": none,
        "E1-zero": none,
        "E2-pred": pred,
        "E2-zero": none,
        "E2-random": none,
    }
    verdict = judge(plan, rows_by_case(plan, rollouts))
    return verdicts.claim_sentence(plan, verdict.claims[1]).split("after Holm. ")[1]


def test_an_effect_that_is_sought_is_named() -> None:
    few, many = seeking(0.2, 24), seeking(0.1, 240)
    mixed: list[Outcome] = [True, True, False, True] * 6
    assert meaning(few, mixed, mixed[1:] + mixed[:1]) == (
        "No gain is shown, and the target gain of 20 points is not excluded; the plan finds "
        "it with a chance of 11 %."
    )
    assert meaning(many, first(180, many), first(180, many)) == (
        "The target gain of 10 points is excluded, and the plan would have found it with a "
        "chance of 100 %."
    )
    wide = seeking(0.3, 24)
    assert meaning(wide, [True] * 24, [True] * 24) == (
        "The interval excludes the target gain of 30 points, but the plan would have found "
        "it with a chance of 66 % only."
    )
    assert meaning(many, first(240, many), first(150, many)) == "A gain is shown."
    assert meaning(many, first(150, many), first(240, many)) == "A gain is excluded."


def test_what_it_would_take_is_told_in_episodes_and_hours() -> None:
    plan = seeking(0.05, 24)
    sought, equal, plain = plan.claims[1], plan.claims[0], without_effects(plan).claims[2]
    limit = limit_of(plan, sought, Discordance(0.2))
    assert isinstance(limit, SuperiorityLimit)
    more = int(limit.effect_episodes or 0) - 24
    assert plans.effort_note(limit, 0.01, "CPU-hours") == (
        f"To find the target gain of 5 points with a chance of 80 % takes about {more + 24} "
        f"paired episodes, {more} more than here: {0.01 * more:.2g} CPU-hours of playing."
    )
    assert str(plans.effort_note(limit, None, "")).endswith("how long they take is not recorded.")
    assert "733 paired episodes, 709 more" in str(
        plans.effort_note(limit_of(plan, equal), 0.01, "CPU-hours")
    )
    assert plans.effort_note(limit_of(plan, plain), 0.1, "GPU-hours") == (
        "To find a gain of 5 points with a chance of 80 % takes about 913 paired episodes, "
        "889 more than here: 89 GPU-hours of playing."
    )
    alike = limit_of(plan, plain, Discordance(0.2, design_effect=4.0))
    assert (
        "3628 more than here (with new initial states and training seeds, not the same ones again)"
    ) in (plans.effort_note(alike, 0.1, "GPU-hours"))
    enough = seeking(0.05, 2400)
    assert "and this plan has them" in str(
        plans.effort_note(limit_of(enough, enough.claims[1]), 0.01, "CPU-hours")
    )


def test_a_plan_says_what_its_episodes_can_show() -> None:
    plan = seeking(0.05, 24)
    equal, sought, *_ = plan.claims
    assert plans.plan_sentences([limit_of(plan, equal), limit_of(plan, sought)])[::2] == [
        (
            "equality within 5 points, if it is true, is shown with a chance of 0 %; it takes "
            "733 paired episodes"
        ),
        "All if equal rollouts disagree on 20 % of the episodes (assumed).",
    ]
    _, told = plans.plan_sentences(
        [limit_of(plan, equal), limit_of(plan, sought, measured_discordance(3, 1, 24))]
    )
    assert "2 points 5825, 3 points 2702, 5 points 1055, 10 points 313" in told
    assert "24 % of the episodes (upper limit from 4 of 24 pairs)" in told
    assert "the target gain of 5 points is found with a chance of 2 % and takes 1055" in told
    assert plans.power_heading(plan) == "What 24 paired episodes can show, with a chance of 80 %:"
    assert "72 paired episodes" in plans.power_heading(core_plan(episodes=24, seeds=(0, 1, 2)))
    assert "if training seeds do not differ" in plans.power_heading(
        core_plan(episodes=24, seeds=(0, 1, 2))
    )
    repeats = core_plan(episodes=96)
    assert (
        "if repeats of an initial state have the same result"
        in plans.plan_sentences([limit_of(repeats, repeats.claims[1])])[0]
    )


def test_steps_to_success_are_told() -> None:
    contrast = StepsContrast(
        quicker=14, slower=7, alike=3, left_mean=120.04, right_mean=151.5, p=0.031, exact=True
    )
    assert notes.steps_sentence(LONG.claims[1], contrast) == (
        "Steps to success, which decide nothing: E2-pred is quicker in 14 pairs and slower "
        "in 7; a failure counts as slower than any success. Mean 120.0 against 151.5, with "
        "failures at the limit; two-sided p = 0.03."
    )
    assert notes.steps_sentence(LONG.claims[1], None) is None


def test_what_a_plan_cannot_show_is_told_before_it_runs() -> None:
    equal, gain, *_ = core_plan(episodes=24).claims
    few, many = core_plan(episodes=24), core_plan(episodes=96)
    assert plans.out_of_reach_note(equal, limit_of(few, equal)) == (
        '"E1 = E0" within 5 points: 24 paired episodes cannot show it, whatever their '
        "results are; it takes at least 87."
    )
    assert plans.out_of_reach_note(equal, limit_of(many, equal)) is None
    tiny = core_plan(episodes=4)
    assert (
        plans.out_of_reach_note(gain, limit_of(tiny, gain))
        == '"E2 > E0": 4 paired episodes cannot show a gain of any size.'
    )


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (0.125, "+12.5"),
        (-0.125, "-12.5"),
        (0.0, "0.0"),
        (-0.0001, "0.0"),
        (1.0, "+100.0"),
        (None, "-"),
    ],
)
def test_points(difference: float | None, expected: str) -> None:
    assert numbers.points(difference) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1.0, "1.00"), (0.0123, "0.01"), (0.00987, "0.0099"), (1e-9, "< 0.0001"), (None, "-")],
)
def test_p_values(p: float | None, expected: str) -> None:
    assert numbers.p_value(p) == expected


def test_intervals_are_told_in_points() -> None:
    assert numbers.interval_points(Interval(-0.1, 0.254, 0.9)) == "-10.0 to +25.4"


def test_resets_and_batches() -> None:
    assert notes.resets_note({}, 0) is None
    assert (
        notes.resets_note({}, 24)
        == "All 24 resets were cheap ones; each gave the scene of a hard reset, bit for bit."
    )
    assert notes.resets_note({"libero_10 task 3": 50, "libero_10 task 8": 2}, 448) == (
        "52 of 500 resets were hard ones, which build the model again, because a cheap reset"
        " did not give the same scene bit for bit: libero_10 task 3 (50) and libero_10 task "
        "8 (2)."
    )
    assert notes.batch_note(1) is None
    assert "up to 64" in (notes.batch_note(64) or "")
