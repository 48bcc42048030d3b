"""What stands beside a verdict and decides nothing."""

from bench.judge.stats.steps import StepsContrast
from bench.plan.document import Plan
from bench.plan.suite import Claim
from bench.wording.numbers import p_value
from bench.wording.text import listed


def steps_sentence(claim: Claim, steps: StepsContrast | None) -> str | None:
    """Who succeeds sooner; None without episodes."""
    if steps is None:
        return None
    p = p_value(steps.p)
    return (
        f"Steps to success, which decide nothing: {claim.left} is quicker in {steps.quicker} "
        f"pairs and slower in {steps.slower}; a failure counts as slower than any success. Mean "
        f"{steps.left_mean:.1f} against {steps.right_mean:.1f}, with failures at the limit; "
        f"two-sided p {p if p.startswith('<') else f'= {p}'}."
    )


def replays_note(plan: Plan, done: int) -> str | None:
    """Why figures of held-out demonstrations are not there, or not all; None where all are."""
    planned = sum(case.kind == "replay" for case in plan.cases)
    if planned and done < planned:
        return f"{done} of {planned} trainings were replayed so far."
    if planned:
        return None
    if not plan.recipe.demonstrations.held_out:
        return "Not measured: this scale has no held-out demonstrations."
    return (
        "Not measured: no arm with world memory was chosen, or the plan is older than the"
        " measurement."
    )


def resets_note(hard: dict[str, int], cheap: int) -> str | None:
    """Which tasks resisted the cheap reset, by `hard` resets of each; None of an old run."""
    if not hard:
        note = (
            f"All {cheap} resets were cheap ones; each gave the scene of a hard reset, bit for bit."
        )
        return note if cheap else None
    total = sum(hard.values())
    names = listed([f"{task} ({number})" for task, number in hard.items()])
    return (
        f"{total} of {total + cheap} resets were hard ones, which build the model again, because "
        f"a cheap reset did not give the same scene bit for bit: {names}."
    )


def batch_note(largest: int) -> str | None:
    """What answering several simulators together means for the figures, if it was done."""
    if largest <= 1:
        return None
    return (
        f"Actions were computed in batches of up to {largest}; their last bits may depend on the "
        "batch. --deterministic avoids this."
    )
