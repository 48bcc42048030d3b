"""What came out: of the whole, of each claim, of the sanity gate; and whom it is about."""

from bench.judge.verdict import ClaimResult, SanityResult, Verdict
from bench.plan.document import Plan
from bench.wording.numbers import interval_points, p_value, percent, points
from bench.wording.text import listed, sentence_case

MOST_NAMED = 5
"""Claims that one sentence names."""
TELLING_SEEDS = 10
"""Training seeds from which on resampling them says something about other seeds."""


def verdict_sentence(plan: Plan, verdict: Verdict) -> str:
    """The answer in one sentence, the decision first."""
    return f"{verdict.decision}: {overall_reason(plan, verdict)}"


def verdict_line(plan: Plan, verdict: Verdict) -> str:
    """One line for a terminal: what ran, and the answer."""
    return f"{plan.suite} at {plan.scale} on {plan.machine.name}: {verdict_sentence(plan, verdict)}"


def overall_reason(plan: Plan, verdict: Verdict) -> str:
    asked = [claim for claim in verdict.claims if claim.claim.asked]
    held = [claim for claim in asked if claim.decision == "SUPPORTED"]
    if verdict.why == "scale":
        return no_conclusion(plan)
    if verdict.why == "sanity":
        return sanity_sentence(verdict.sanity)
    if not asked:
        return "no claim was asked, because arms that the claims need were left out."
    if verdict.why == "incomplete":
        return (
            f"{verdict.finished} of {verdict.planned} episodes are finished; nothing is concluded"
            " before all are."
        )
    if verdict.decision == "SUPPORTED":
        return f"all {len(asked)} claims hold for {these_checkpoints(plan)}."
    if verdict.decision == "NOT SUPPORTED":
        against = _names([claim for claim in asked if claim.decision == "NOT SUPPORTED"])
        return (
            f"the episodes exclude the difference that {against} would need, for "
            f"{these_checkpoints(plan)}."
        )
    undecided = [claim for claim in asked if claim.decision != "SUPPORTED"]
    open_claims = _names(undecided)
    state = f"none of {len(asked)} claims is decided"
    if held:
        state = f"{len(held)} of {len(asked)} claims {'holds' if len(held) == 1 else 'hold'}"
    if verdict.why == "not asked":
        missing = [claim for claim in verdict.claims if not claim.claim.asked]
        were = "was" if len(missing) == 1 else "were"
        return f"{state}; {_names(missing)} {were} not asked, because an arm was left out."
    if verdict.why == "broken":
        return f"{state}; errors or timeouts leave {open_claims} open."
    if len(undecided) > MOST_NAMED:
        open_claims = f"the other {len(undecided)}" if held else "any of them"
    return f"{state}; the episodes neither show nor exclude {open_claims}."


def no_conclusion(plan: Plan) -> str:
    return f"nothing can be concluded at scale {plan.scale}: {plan.summary}."


def these_checkpoints(plan: Plan) -> str:
    """Whom a conclusion is about."""
    if len(plan.seeds) == 1:
        return "these checkpoints (one training seed)"
    number = len(plan.seeds)
    if plan.method.seeds == "resampled" and number >= TELLING_SEEDS:
        return f"this way of training ({number} training seeds, resampled)"
    return f"these checkpoints ({number} training seeds, {plan.method.seeds})"


def seeds_note(plan: Plan) -> str:
    if len(plan.seeds) == 1:
        return (
            f"One training seed ({plan.seeds[0]}): every statement is about these checkpoints, not"
            " about the training method."
        )
    seeds = ", ".join(map(str, plan.seeds))
    number = len(plan.seeds)
    if plan.method.seeds == "pooled":
        return (
            f"{number} training seeds ({seeds}), pooled: episodes of one seed, task and initial"
            f" state are one cluster. Statements are about these checkpoints; {number} seeds do not"
            " measure how much training varies."
        )
    note = (
        f"{number} training seeds ({seeds}): intervals of differences include the variation "
        "between checkpoints, because seeds are resampled first, and then episodes."
    )
    if number >= TELLING_SEEDS:
        return note
    return (
        f"{note} Statements are about these checkpoints: by chance alone {number} seeds all point "
        f"to the same side once in {2 ** (number - 1)} times, so they say nothing about other "
        "seeds."
    )


def sanity_sentence(sanity: SanityResult) -> str:
    floor = f"{100 * sanity.floor:.0f} %"
    if sanity.status == "passed":
        return (
            f"{sanity.rollout} solves {percent(sanity.rate)} of its episodes; the sanity gate "
            f"needs {floor}."
        )
    if sanity.status == "failed":
        return (
            f"{sanity.rollout} solves only {percent(sanity.rate)} of its episodes; below {floor}"
            " nothing may be concluded."
        )
    if sanity.status == "incomplete":
        return f"the sanity gate waits for {sanity.rollout}, whose episodes are not finished."
    return f"{sanity.rollout} was left out, and without it the sanity gate cannot be passed."


def claim_sentence(plan: Plan, result: ClaimResult) -> str:
    """What came out for one claim, and why it is decided as it is."""
    claim = result.claim
    if result.why == "not asked":
        return f"Not asked: {claim.left} or {claim.right} was left out by the choice of arms."
    if result.contrast.pairs == 0:
        return f"No episode yet that both {claim.left} and {claim.right} have finished."
    found = _found(result)
    if result.why == "scale":
        return f"{found} {sentence_case(no_conclusion(plan))}"
    if result.why == "sanity":
        return f"{found} The sanity gate is not passed, so this says nothing."
    if result.why == "incomplete":
        if result.complete:
            return f"{found} The sanity gate is not decided yet, so this says nothing."
        return f"So far, {result.contrast.pairs} of {result.planned} pairs: {found}"
    if result.why == "broken":
        assert result.bounds is not None
        return (
            f"{found} {result.broken} pairs have an error or a timeout; the difference lies between"
            f" {points(result.bounds[0])} and {points(result.bounds[1])}, and the decision changes"
            " in between."
        )
    return " ".join([found, _meaning(result), *_stop_notes(plan, result)])


def _stop_notes(plan: Plan, result: ClaimResult) -> list[str]:
    """Why the claim ended before all episodes were played, and what that does to the estimate."""
    stop = result.stop
    if stop.look == stop.of:
        return []
    if stop.ended == "futile":
        return [
            "Ended early as futile: the chance that the last look would show or exclude it is"
            f" below {100 * plan.schedule.futility:g} %."
        ]
    return [
        "Ended early; the interval is corrected for the looks, the estimate is not: it favours "
        "the side that was ahead."
    ]


def _found(result: ClaimResult) -> str:
    claim, contrast, stop = result.claim, result.contrast, result.stop
    sentence = f"{claim.left} - {claim.right} is {points(contrast.estimate)} points"
    if stop.of > 1:
        looked = f" at look {stop.look} of {stop.of} ({contrast.pairs} pairs)"
        sentence += looked if stop.look else " before the first look"
    interval = contrast.tost_interval if claim.kind == "equivalence" else contrast.interval
    sentence += f", {100 * interval.confidence:.0f} % interval {interval_points(interval)}"
    if claim.kind == "equivalence":
        assert claim.margin is not None
        return f"{sentence}; the margin is {100 * claim.margin:g} points either way."
    if stop.of > 1:
        lead = f"; {claim.left} leads by {stop.lead} episodes, the boundary is {stop.boundary}"
        return f"{sentence}{lead if stop.look else ''}."
    p = p_value(result.p_adjusted)
    return f"{sentence}; one-sided p {p if p.startswith('<') else f'= {p}'} after Holm."


def _meaning(result: ClaimResult) -> str:
    equivalence, effect = result.claim.kind == "equivalence", result.claim.effect
    if result.decision == "SUPPORTED":
        return "The interval lies inside the margin." if equivalence else "A gain is shown."
    if equivalence:
        if result.decision == "NOT SUPPORTED":
            return "A larger difference is shown."
        return (
            "The interval reaches beyond the margin: equality within it is neither shown nor"
            " excluded."
        )
    if _rejects(result):
        return (
            "A gain is shown by all checkpoints together, but the training seeds do not agree"
            " on it."
        )
    if effect is None or result.power is None or result.contrast.interval.upper <= 0:
        excluded = result.decision == "NOT SUPPORTED"
        return "A gain is excluded." if excluded else "A gain is neither shown nor excluded."
    sought, chance = (f"the target gain of {100 * effect:g} points", f"{100 * result.power:.0f} %")
    if result.decision == "NOT SUPPORTED":
        return (
            f"{sentence_case(sought)} is excluded, and the plan would have found it with a chance"
            f" of {chance}."
        )
    if result.contrast.interval.upper < effect:
        return (
            f"The interval excludes {sought}, but the plan would have found it with a chance of"
            f" {chance} only."
        )
    return (
        f"No gain is shown, and {sought} is not excluded; the plan finds it with a chance of"
        f" {chance}."
    )


def _rejects(result: ClaimResult) -> bool:
    """Whether the test of a gain does, whatever else is asked of it."""
    return result.stop.boundary is not None and result.stop.lead >= result.stop.boundary


def bounds_note(result: ClaimResult) -> str | None:
    """How errors and timeouts bound the difference from both sides, where there are any."""
    if not result.broken or result.bounds is None:
        return None
    return (
        f"{result.broken} pairs have an error or a timeout: counted against and for"
        f" {result.claim.left}, the difference is {points(result.bounds[0])} and"
        f" {points(result.bounds[1])}."
    )


def not_asked_note(claim_ids: list[str]) -> str:
    names = listed([f'"{claim_id}"' for claim_id in claim_ids])
    return f"Anything about {names}: not asked, because an arm was left out."


def ended_early_note(claim_ids: list[str]) -> str:
    names = listed([f'"{claim_id}"' for claim_id in claim_ids])
    return (
        f"How large the difference in {names} is: decided at an early look, when estimates favour "
        "the side that is ahead and are not corrected."
    )


def _names(claims: list[ClaimResult]) -> str:
    """Their names, or their number if so many would hide the sentence."""
    if len(claims) > MOST_NAMED:
        return f"{len(claims)} claims"
    return listed([f'"{claim.claim.id}"' for claim in claims])
