"""Every sentence in which a result is told, in one place, so that each can be read, weighed and tested.

How numbers look is ``bench.number_format``'s.
"""

from collections.abc import Sequence

from bench.costs import Cost
from bench.limits import Discordance, EquivalenceLimit, Limit, pairs_of, share_played
from bench.number_format import count, hours_told, interval_points, p_value, percent, points
from bench.plan import Plan
from bench.stats.steps import StepsContrast
from bench.suite import Claim
from bench.verdict import ClaimResult, SanityResult, Verdict

MOST_NAMED = 5
"""Claims that one sentence names."""
TELLING_SEEDS = 10
"""Training seeds from which on resampling them tells about other seeds."""
USUAL_GAIN = 0.05
"""The gain whose cost is told where a claim does not say which one it seeks."""


def sentence_case(text: str) -> str:
    """With a capital at its beginning, to stand alone."""
    return text[0].upper() + text[1:]


def verdict_sentence(plan: Plan, verdict: Verdict) -> str:
    """The answer in one sentence, the decision first."""
    return f"{verdict.decision}: {overall_reason(plan, verdict)}"


def verdict_line(plan: Plan, verdict: Verdict) -> str:
    """One line for a terminal: what ran, and the answer."""
    return f"{plan.suite} at {plan.scale} on {plan.machine.name}: {verdict_sentence(plan, verdict)}"


def overall_reason(plan: Plan, verdict: Verdict) -> str:
    """Why the whole is decided as it is."""
    asked = [claim for claim in verdict.claims if claim.claim.asked]
    held = [claim for claim in asked if claim.decision == "SUPPORTED"]
    if verdict.why == "scale":
        return no_conclusion(plan)
    if verdict.why == "sanity":
        return sanity_sentence(verdict.sanity)
    if not asked:
        return "no claim was asked, because the arms that they need were left out."
    if verdict.why == "incomplete":
        return f"{verdict.finished} of {verdict.planned} episodes are finished; nothing is concluded before all are."
    if verdict.decision == "SUPPORTED":
        return f"all {len(asked)} claims hold for {these_checkpoints(plan)}."
    if verdict.decision == "NOT SUPPORTED":
        against = _names([claim for claim in asked if claim.decision == "NOT SUPPORTED"])
        return f"the episodes exclude what {against} would need, for {these_checkpoints(plan)}."
    undecided = [claim for claim in asked if claim.decision != "SUPPORTED"]
    open_claims = _names(undecided)
    told = f"none of {len(asked)} claims is decided"
    if held:
        told = f"{len(held)} of {len(asked)} claims {'holds' if len(held) == 1 else 'hold'}"
    if verdict.why == "not asked":
        missing = [claim for claim in verdict.claims if not claim.claim.asked]
        were = "was" if len(missing) == 1 else "were"
        return f"{told}; {_names(missing)} {were} not asked, because an arm was left out."
    if verdict.why == "broken":
        return f"{told}; errors or timeouts leave {open_claims} open."
    if len(undecided) > MOST_NAMED:
        open_claims = f"the other {len(undecided)}" if held else "any of them"
    return f"{told}; the episodes neither show nor exclude {open_claims}."


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
    """What the number of training seeds allows to say."""
    if len(plan.seeds) == 1:
        return (
            f"One training seed ({plan.seeds[0]}): every statement is about these checkpoints, not about the training method."
        )
    listed = ", ".join(map(str, plan.seeds))
    number = len(plan.seeds)
    if plan.method.seeds == "pooled":
        return (
            f"{number} training seeds ({listed}), pooled: episodes of one seed, task and initial state are one cluster. "
            f"Statements are about these checkpoints; {number} seeds do not measure how much training varies."
        )
    told = (
        f"{number} training seeds ({listed}): intervals of differences hold how the checkpoints vary, because seeds are "
        f"resampled before episodes are."
    )
    if number >= TELLING_SEEDS:
        return told
    return (
        f"{told} Statements are about these checkpoints: {number} seeds all lean to one side by mere chance once in "
        f"{2 ** (number - 1)} times, so they cannot speak for other seeds."
    )


def sanity_sentence(sanity: SanityResult) -> str:
    floor = f"{100 * sanity.floor:.0f} %"
    if sanity.status == "passed":
        return f"{sanity.rollout} solves {percent(sanity.rate)} of its episodes; the sanity gate asks {floor}."
    if sanity.status == "failed":
        return f"{sanity.rollout} solves only {percent(sanity.rate)} of its episodes; below {floor} nothing may be concluded."
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
    found = _found(plan, result)
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
            f"{found} {result.broken} pairs have an error or a timeout; the difference lies between "
            f"{points(result.bounds[0])} and {points(result.bounds[1])}, and the decision changes in between."
        )
    return " ".join([found, _meaning(plan, result), *_stop_notes(plan, result)])


def _stop_notes(plan: Plan, result: ClaimResult) -> list[str]:
    """Why the claim ended before all episodes were played, and what that does to the estimate."""
    stop = result.stop
    if stop is None or stop.look == stop.of:
        return []
    assert plan.sequential is not None
    if stop.ended == "futile":
        return [
            f"Ended early as futile: the chance that the last look would show or exclude it is below "
            f"{100 * plan.sequential.futility:g} %."
        ]
    return ["Ended early; the interval is corrected for the looks, the estimate is not: it flatters whoever was ahead."]


def _found(plan: Plan, result: ClaimResult) -> str:
    claim, contrast, stop = result.claim, result.contrast, result.stop
    told = f"{claim.left} - {claim.right} is {points(contrast.estimate)} points"
    if stop is not None:
        told += f" at look {stop.look} of {stop.of} ({contrast.pairs} pairs)" if stop.look else " before the first look"
    if claim.kind == "equivalence":
        level = f"{100 * contrast.tost_interval.confidence:.0f} %"
        assert claim.margin is not None
        return (
            f"{told}, {level} interval {interval_points(contrast.tost_interval)}; "
            f"the margin is {100 * claim.margin:g} points either way."
        )
    level, p = f"{100 * contrast.interval.confidence:.0f} %", p_value(result.p_adjusted)
    if stop is not None:
        reached = f"; {claim.left} leads by {stop.lead} episodes, the boundary is {stop.boundary}" if stop.look else ""
        return f"{told}, {level} interval {interval_points(contrast.interval)}{reached}."
    return (
        f"{told}, {level} interval {interval_points(contrast.interval)}; "
        f"one-sided p {p if p.startswith('<') else f'= {p}'} after Holm."
    )


def _meaning(plan: Plan, result: ClaimResult) -> str:
    equivalence, effect = result.claim.kind == "equivalence", result.claim.effect
    if result.decision == "SUPPORTED":
        return "The interval lies inside the margin." if equivalence else "A gain is shown."
    if equivalence:
        if result.decision == "NOT SUPPORTED":
            return "A larger difference is shown."
        return "The interval reaches beyond the margin: equality within it is neither shown nor excluded."
    if _rejects(plan, result):
        return "A gain is shown by all checkpoints together, but the training seeds do not agree on it."
    if effect is None or result.power is None or result.contrast.interval.upper <= 0:
        return "A gain is excluded." if result.decision == "NOT SUPPORTED" else "A gain is neither shown nor excluded."
    sought, chance = f"the gain of {100 * effect:g} points that is sought", f"{100 * result.power:.0f} %"
    if result.decision == "NOT SUPPORTED":
        return f"{sentence_case(sought)} is excluded, and the plan would have found it with a chance of {chance}."
    if result.contrast.interval.upper < effect:
        return f"The interval excludes {sought}, but the plan would have found it with a chance of {chance} only."
    return f"No gain is shown, and {sought} is not excluded; the plan finds it with a chance of {chance}."


def _rejects(plan: Plan, result: ClaimResult) -> bool:
    """Whether the test of a gain does, whatever else is asked of it."""
    if result.stop is not None:
        return result.stop.boundary is not None and result.stop.lead >= result.stop.boundary
    return result.p_adjusted is not None and result.p_adjusted <= plan.alpha


def limit_sentence(limit: Limit) -> str:
    """What it would take."""
    if isinstance(limit, EquivalenceLimit):
        return (
            f"{sentence_case(discordance_note(limit.discordance))}, equal rollouts are shown to be equal within "
            f"{100 * limit.margin:g} points with a chance of {100 * limit.power:.0f} % by {limit.pairs} paired episodes; "
            f"four times in five takes about {count(limit.episodes)}."
        )
    if limit.wins is None:
        return f"Out of reach: {limit.pairs} paired episodes cannot show a gain of any size."
    least = f"At least {limit.wins} of {limit.pairs} episodes must be won with none lost."
    found = (
        f"a true gain of {100 * limit.gain:.1f} points is found four times in five"
        if limit.gain is not None
        else "no gain is large enough to be found four times in five"
    )
    counts = [f"{100 * gain:.0f} points {count(episodes)}" for gain, episodes in limit.episodes]
    return (
        f"{least} {sentence_case(discordance_note(limit.discordance))}, {found}; "
        f"paired episodes for a gain of {', '.join(counts)}."
    )


def looks_sentence(plan: Plan) -> str | None:
    """When a sequential plan looks, and what it saves; None of a plan of fixed size."""
    share = share_played(plan)
    if plan.sequential is None or share is None:
        return None
    spending = {"obrien-fleming": "O'Brien-Fleming", "pocock": "Pocock"}[plan.sequential.spending]
    states = _listed([str(look) for look in plan.sequential.looks])
    return (
        f"after {states} initial states of each task, error spent as {spending} would; a claim whose gain is found four times "
        f"in five ends after {100 * share:.0f} % of its pairs on average"
    )


def power_heading(plan: Plan) -> str:
    """What `plan_sentences` are about."""
    alike = ", if training seeds do not differ" if len(plan.seeds) > 1 else ""
    return f"What {pairs_of(plan)} paired episodes can show, with a chance of 80 %{alike}:"


def plan_sentences(limits: Sequence[Limit]) -> list[str]:
    """What the episodes of each claim can show before any is played, and how many it takes; on which discordance comes last.

    One sentence for each claim; if all rest on one discordance, that is one sentence more.
    """
    notes = [discordance_note(limit.discordance) for limit in limits]
    if len(set(notes)) == 1:
        return [*map(_plan_sentence, limits), f"All {notes[0]}."]
    return [f"{_plan_sentence(limit)}, {note}" for limit, note in zip(limits, notes, strict=True)]


def _plan_sentence(limit: Limit) -> str:
    if isinstance(limit, EquivalenceLimit):
        return (
            f"equality within {100 * limit.margin:g} points is shown with a chance of {100 * limit.power:.0f} % where it "
            f"holds, and takes {count(limit.episodes)} paired episodes"
        )
    if limit.gain is None:
        found = "no gain of any size"
    else:
        found = f"a gain of {100 * limit.gain:.1f} points"
        if limit.gain_if_repeats_are_alike is not None:
            found += f" ({100 * limit.gain_if_repeats_are_alike:.1f} if repeats of an initial state end alike)"
    counts = [f"{100 * gain:.0f} points {count(episodes)}" for gain, episodes in limit.episodes]
    told = f"{found}; paired episodes for {', '.join(counts)}"
    if limit.effect is None or limit.power is None:
        return told
    return (
        f"{told}; the gain of {100 * limit.effect:g} points that is sought is found with a chance of "
        f"{100 * limit.power:.0f} % and takes {count(limit.effect_episodes)}"
    )


def cost_lines(plan: Plan, costs: Sequence[Cost], references: Sequence[str]) -> list[tuple[str, str]]:
    """Wall time, CPU or GPU time and disk of a plan, each with what it lacks: pairs of a name and a text."""
    if not references:
        return [("cost", "no reference: no comparable run on a machine of this name, so neither time nor disk is known")]
    on_cpu = plan.machine.accelerator == "cpu"
    untimed = _without([cost.case.kind for cost in costs if cost.seconds is None])
    unsized = _without([cost.case.kind for cost in costs if cost.size is None])
    seconds = sum(cost.seconds or 0.0 for cost in costs)
    used = sum((cost.cpu_seconds if on_cpu else cost.gpu_seconds(plan)) or 0.0 for cost in costs)
    size = sum(cost.size or 0 for cost in costs)
    return [
        ("wall time", f"about {hours_told(seconds / 3600)} h if nothing is done yet{untimed}"),
        ("CPU-hours" if on_cpu else "GPU-hours", f"about {hours_told(used / 3600)}{untimed}"),
        ("disk", f"about {size / 1e6:.3g} MB{unsized}; downloads are not counted"),
        ("measured by", ", ".join(references)),
    ]


def _without(kinds: Sequence[str]) -> str:
    """Which kinds of case a sum leaves out."""
    return f", without {_listed(list(dict.fromkeys(kinds)))}: no reference" if kinds else ""


def discordance_note(discordance: Discordance) -> str:
    """On which discordance a number of episodes rests, and how it is known."""
    rate = f"{100 * discordance.rate:.0f} %"
    if discordance.measured is None:
        return f"if equal rollouts disagree on {rate} of the episodes (assumed)"
    alike = f", {discordance.design_effect:.1f} pairs being worth one" if discordance.design_effect >= 1.05 else ""
    return (
        f"if equal rollouts disagree on {rate} of the episodes (upper limit from {discordance.found} of "
        f"{discordance.measured} pairs{alike})"
    )


def effort_note(limit: Limit, hours_a_pair: float | None, unit: str) -> str:
    """What it would take to conclude four times in five, in episodes and hours of playing.

    Of a claim that seeks no certain gain, to find one of `USUAL_GAIN`. `hours_a_pair`: hours that one more episode of both
    rollouts takes, in `unit` (``CPU-hours``); None: not known.
    """
    if isinstance(limit, EquivalenceLimit):
        needed, aim = limit.episodes, "To show equality where it holds"
    elif limit.effect is not None:
        needed, aim = limit.effect_episodes, f"To find the gain of {100 * limit.effect:g} points that is sought"
    else:
        needed, aim = dict(limit.episodes)[USUAL_GAIN], f"To find a gain of {100 * USUAL_GAIN:g} points"
    if needed is None:
        return f"{aim} would take more than 100000 paired episodes."
    told = f"{aim} four times in five takes about {needed} paired episodes"
    if needed <= limit.pairs:
        return f"{told}, which this plan has: it is the fifth time, or it is not there."
    more = needed - limit.pairs
    alike = " (of new initial states and training seeds, not of the same)" if limit.discordance.design_effect >= 1.05 else ""
    if hours_a_pair is None:
        return f"{told}, {more} more than here{alike}; how long they take is not recorded."
    return f"{told}, {more} more than here{alike}: {hours_told(hours_a_pair * more)} {unit} of playing."


def steps_sentence(claim: Claim, steps: StepsContrast | None) -> str | None:
    """Who succeeds sooner; None without episodes."""
    if steps is None:
        return None
    p = p_value(steps.p)
    return (
        f"Steps to success, which decide nothing: {claim.left} is quicker in {steps.quicker} pairs and slower in "
        f"{steps.slower}, a failure being slower than any success; mean {steps.left_mean:.1f} against "
        f"{steps.right_mean:.1f} with failures at the limit; two-sided p {p if p.startswith('<') else f'= {p}'}."
    )


def out_of_reach_note(claim: Claim, limit: Limit) -> str | None:
    """What the number of episodes rules out before anything is played, or None."""
    if isinstance(limit, EquivalenceLimit):
        if limit.least is not None and limit.least <= limit.pairs:
            return None
        return (
            f'"{claim.id}" within {100 * limit.margin:g} points: {limit.pairs} paired episodes cannot show it, '
            f"whatever they are; it takes at least {count(limit.least)}."
        )
    if limit.wins is None:
        return f'"{claim.id}": {limit.pairs} paired episodes cannot show a gain of any size.'
    return None


def not_asked_note(claim_ids: list[str]) -> str:
    listed = _listed([f'"{claim_id}"' for claim_id in claim_ids])
    return f"Anything about {listed}: not asked, because an arm was left out."


def ended_early_note(claim_ids: list[str]) -> str:
    listed = _listed([f'"{claim_id}"' for claim_id in claim_ids])
    return f"How large the difference in {listed} is: decided at an early look, where estimates flatter and are not corrected."


def replays_note(plan: Plan, done: int) -> str | None:
    """Why figures of held-out demonstrations are not there, or not all; None where all are."""
    planned = sum(case.kind == "replay" for case in plan.cases)
    if planned and done < planned:
        return f"{done} of {planned} trainings were replayed so far."
    if planned:
        return None
    if not plan.recipe.demonstrations.held_out:
        return "Not measured: this scale has no demonstrations that are held out of training."
    return "Not measured: no arm with world memory was chosen, or the plan is older than the measurement."


def resets_note(hard: dict[str, int], cheap: int) -> str | None:
    """Which tasks resisted the cheap reset, by `hard` resets of each, and how many resets were cheap; None of an old run."""
    if not hard:
        return f"All {cheap} resets were cheap: bit for bit the scene of a hard one." if cheap else None
    total = sum(hard.values())
    listed = _listed([f"{task} ({number})" for task, number in hard.items()])
    return (
        f"{total} of {total + cheap} resets were hard, each with a model built anew, because no cheap one gave the same "
        f"scene bit for bit: {listed}."
    )


def batch_note(largest: int) -> str | None:
    """What answering several simulators together means for the figures; None where the policy answered one at a time."""
    if largest <= 1:
        return None
    return (
        f"Answers were computed in batches of up to {largest}; their last bits may depend on the batch. "
        f"--deterministic avoids it."
    )


def bounds_note(result: ClaimResult) -> str | None:
    """How errors and timeouts bound the difference from both sides, where there are any."""
    if not result.broken or result.bounds is None:
        return None
    return (
        f"{result.broken} pairs have an error or a timeout: counted against and for {result.claim.left}, "
        f"the difference is {points(result.bounds[0])} and {points(result.bounds[1])}."
    )


def _names(claims: list[ClaimResult]) -> str:
    """Their names, or their number where so many would hide the sentence."""
    if len(claims) > MOST_NAMED:
        return f"{len(claims)} claims"
    return _listed([f'"{claim.claim.id}"' for claim in claims])


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
