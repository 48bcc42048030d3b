"""What a number of episodes can show, takes and costs."""

from collections.abc import Sequence

from bench.forecast.by_operations import Estimator, assumptions
from bench.forecast.costs import Cost
from bench.judge.power import Discordance, EquivalenceLimit, Limit, limit_of, pairs_of, share_played
from bench.plan.document import Plan
from bench.plan.suite import Claim
from bench.wording.numbers import count, hours_text
from bench.wording.text import listed, sentence_case

USUAL_GAIN = 0.05
"""The gain whose cost is given if a claim does not say which one it seeks."""


def limit_sentence(limit: Limit) -> str:
    if isinstance(limit, EquivalenceLimit):
        return (
            f"{sentence_case(discordance_note(limit.discordance))}, {limit.pairs} paired episodes "
            f"show that equal rollouts are equal within {100 * limit.margin:g} points with a "
            f"chance of {100 * limit.power:.0f} %; a chance of 80 % takes about "
            f"{count(limit.episodes)}."
        )
    if limit.wins is None:
        return f"Out of reach: {limit.pairs} paired episodes cannot show a gain of any size."
    least = f"At least {limit.wins} of {limit.pairs} episodes must be gained and none lost."
    found = (
        f"a true gain of {100 * limit.gain:.1f} points is found with a chance of 80 %"
        if limit.gain is not None
        else "no gain is large enough to be found with a chance of 80 %"
    )
    counts = [f"{100 * gain:.0f} points {count(episodes)}" for gain, episodes in limit.episodes]
    return (
        f"{least} {sentence_case(discordance_note(limit.discordance))}, {found}; "
        f"paired episodes for a gain of {', '.join(counts)}."
    )


def out_of_reach_note(claim: Claim, limit: Limit) -> str | None:
    """What the number of episodes rules out before anything is played, or None."""
    if isinstance(limit, EquivalenceLimit):
        if limit.least is not None and limit.least <= limit.pairs:
            return None
        return (
            f'"{claim.id}" within {100 * limit.margin:g} points: {limit.pairs} paired episodes '
            f"cannot show it, whatever their results are; it takes at least {count(limit.least)}."
        )
    if limit.wins is None:
        return f'"{claim.id}": {limit.pairs} paired episodes cannot show a gain of any size.'
    return None


def out_of_reach_notes(plan: Plan) -> list[str]:
    """Those of all claims that are asked; none of a plan that cannot conclude."""
    asked = [claim for claim in plan.claims if claim.asked and plan.concludes]
    notes = (out_of_reach_note(claim, limit_of(plan, claim)) for claim in asked)
    return [note for note in notes if note]


def looks_sentence(plan: Plan) -> str | None:
    """When a sequential plan looks, and what it saves; None of a plan of fixed size."""
    if plan.last_look == 1:
        return None
    share = share_played(plan)
    spending = {"obrien-fleming": "O'Brien-Fleming", "pocock": "Pocock"}[plan.schedule.spending]
    states = listed([str(look) for look in plan.schedule.looks])
    return (
        f"after {states} initial states of each task, with the error spending of {spending}; a "
        f"claim whose gain is found with a chance of 80 % ends after {100 * share:.0f} % of its "
        "pairs on average"
    )


def power_heading(plan: Plan) -> str:
    alike = ", if training seeds do not differ" if len(plan.seeds) > 1 else ""
    return f"What {pairs_of(plan)} paired episodes can show, with a chance of 80 %{alike}:"


def plan_sentences(limits: Sequence[Limit]) -> list[str]:
    """What each claim's episodes can show before any is played, and how many it takes; if all rest
    on one discordance, that is one sentence more, the last."""
    notes = [discordance_note(limit.discordance) for limit in limits]
    if len(set(notes)) == 1:
        return [*map(_plan_sentence, limits), f"All {notes[0]}."]
    return [f"{_plan_sentence(limit)}, {note}" for limit, note in zip(limits, notes, strict=True)]


def _plan_sentence(limit: Limit) -> str:
    if isinstance(limit, EquivalenceLimit):
        return (
            f"equality within {100 * limit.margin:g} points, if it is true, is shown with a "
            f"chance of {100 * limit.power:.0f} %; it takes {count(limit.episodes)} paired "
            "episodes"
        )
    if limit.gain is None:
        found = "no gain of any size"
    else:
        found = f"a gain of {100 * limit.gain:.1f} points"
        if limit.gain_if_repeats_are_alike is not None:
            found += (
                f" ({100 * limit.gain_if_repeats_are_alike:.1f} if repeats of an initial state "
                "have the same result)"
            )
    counts = [f"{100 * gain:.0f} points {count(episodes)}" for gain, episodes in limit.episodes]
    sentence = f"{found}; paired episodes for {', '.join(counts)}"
    if limit.effect is None or limit.power is None:
        return sentence
    return (
        f"{sentence}; the target gain of {100 * limit.effect:g} points is found with a chance of "
        f"{100 * limit.power:.0f} % and takes {count(limit.effect_episodes)}"
    )


def cost_lines(
    plan: Plan, costs: Sequence[Cost], references: Sequence[str], estimator: Estimator | None = None
) -> list[tuple[str, str]]:
    """Wall time, CPU or GPU time and disk of a plan, each with what it lacks: (name, text) pairs.
    `estimator`: what filled the costs that no reference knows; None: they are left out."""
    if not references and estimator is None:
        unknown = "no comparable run on a machine of this name, so time and disk are not known"
        return [("cost", f"no reference: {unknown}")]
    on_cpu, most = plan.machine.accelerator == "cpu", "at most" if plan.last_look > 1 else "about"
    untimed = _without([cost.case.kind for cost in costs if cost.seconds is None])
    unsized = _without([cost.case.kind for cost in costs if cost.size is None])
    seconds = sum(cost.seconds or 0.0 for cost in costs)
    used = sum((cost.cpu_seconds if on_cpu else cost.gpu_seconds(plan)) or 0.0 for cost in costs)
    size = sum(cost.size or 0 for cost in costs)
    guessed = [cost for cost in costs if cost.estimated]
    share, fetched = "", ""
    if guessed:
        hours = hours_text(sum(cost.seconds or 0.0 for cost in guessed) / 3600)
        share = f", {hours} of them an estimate"
    if estimator and estimator.downloads:
        fetched = f" and {_bytes_text(estimator.downloads)} fetched before"
    counted = fetched or "; downloads are not counted" * (estimator is None)
    wall = f"{most} {hours_text(seconds / 3600)} h if nothing is done yet{share}{untimed}"
    lines = [
        ("wall time", wall),
        ("CPU-hours" if on_cpu else "GPU-hours", f"{most} {hours_text(used / 3600)}{untimed}"),
        ("disk", f"about {_bytes_text(size)}{unsized}{counted}"),
    ]
    lines += [("measured by", ", ".join(references))] if references else []
    if estimator and guessed:
        lines.append(("estimated", f"not measured: {assumptions(estimator)}"))
    return lines


def _bytes_text(size: float) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e10 else f"{size / 1e6:.3g} MB"


def _without(kinds: Sequence[str]) -> str:
    """Which kinds of case a sum leaves out."""
    return f", without {listed(list(dict.fromkeys(kinds)))}: no reference" if kinds else ""


def discordance_note(discordance: Discordance) -> str:
    """On which discordance a number of episodes rests, and how it is known."""
    rate = f"{100 * discordance.rate:.0f} %"
    if discordance.measured is None:
        return f"if equal rollouts disagree on {rate} of the episodes (assumed)"
    count_as_one = f", {discordance.design_effect:.1f} pairs count as one"
    alike = count_as_one if discordance.design_effect >= 1.05 else ""
    return (
        f"if equal rollouts disagree on {rate} of the episodes (upper limit from"
        f" {discordance.found} of {discordance.measured} pairs{alike})"
    )


def effort_note(limit: Limit, hours_a_pair: float | None, unit: str) -> str:
    """What it would take to conclude four times in five, in episodes and hours of playing. Of a
    claim that seeks no certain gain, to find one of `USUAL_GAIN`. `hours_a_pair`: hours that one
    more episode of both rollouts takes, in `unit` (``CPU-hours``); None: not known."""
    if isinstance(limit, EquivalenceLimit):
        needed, aim = limit.episodes, "To show equality, if it is true,"
    elif limit.effect is not None:
        needed = limit.effect_episodes
        aim = f"To find the target gain of {100 * limit.effect:g} points"
    else:
        needed = dict(limit.episodes)[USUAL_GAIN]
        aim = f"To find a gain of {100 * USUAL_GAIN:g} points"
    if needed is None:
        return f"{aim} would take more than 100000 paired episodes."
    sentence = f"{aim} with a chance of 80 % takes about {needed} paired episodes"
    if needed <= limit.pairs:
        return (
            f"{sentence}, and this plan has them: either the other 20 % happened, or there is "
            "nothing to find."
        )
    more = needed - limit.pairs
    new = " (with new initial states and training seeds, not the same ones again)"
    alike = new if limit.discordance.design_effect >= 1.05 else ""
    sentence += f", {more} more than here{alike}"
    if hours_a_pair is None:
        return f"{sentence}; how long they take is not recorded."
    return f"{sentence}: {hours_text(hours_a_pair * more)} {unit} of playing."
