"""What a comparison of runs says: one sentence, tables, and its limits; as text and as Markdown."""

from dataclasses import asdict, dataclass
from typing import Any

from bench.compare.candidates import Candidate
from bench.compare.differences import what_differs
from bench.compare.external_words import UNPAIRED
from bench.compare.regressions import Compared, Comparison, Status
from bench.compare.sides import Side
from bench.compare.speed import costs
from bench.wording.numbers import interval_json, interval_points, p_value, percent, points
from bench.wording.tables import markdown_table, text_table
from bench.wording.text import listed
from wmvla.rollout.tally import Tally

MOST_DIFFERENCES = 12
STATUS: dict[Status, str] = {
    "regression": "REGRESSION",
    "broken": "open: depends on errors or timeouts",
    "incomplete": "open: episodes are missing",
    "none shown": "no regression shown",
}


@dataclass(frozen=True)
class Section:
    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def comparison_text(comparison: Comparison) -> str:
    """For a terminal; the first line is the answer."""
    lines = [verdict(comparison)]
    for section in sections(comparison):
        lines += ["", section.title]
        lines += text_table(section.header, section.rows) if section.rows else []
        lines += [f"- {note}" for note in section.notes]
    return "\n".join([*lines, ""])


def comparison_markdown(comparison: Comparison) -> str:
    baseline, *others = (side.name for side in comparison.sides)
    lines = [f"### {listed(others)} against {baseline}", "", f"**{verdict(comparison)}**"]
    for section in sections(comparison):
        lines += ["", f"#### {section.title}"]
        lines += ["", *markdown_table(section.header, section.rows)] if section.rows else []
        lines += ["", *(f"- {note}" for note in section.notes)] if section.notes else []
    return "\n".join([*lines, ""])


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What ``--json`` prints (``bench/formats/schemas/comparison.schema.json``)."""
    baseline, *others = comparison.sides
    assert baseline.run is not None
    return {
        "version": 1,
        "passes": comparison.passes,
        "verdict": verdict(comparison),
        "rule": rule(comparison),
        "alpha": comparison.alpha,
        "threshold": comparison.threshold,
        "baseline": baseline.name,
        "rollouts": [_rollout_json(each) for each in comparison.rollouts],
        "left_out": [
            {"against": name, "rollout": rollout, "why": why}
            for name, rollout, why in comparison.left_out
        ],
        "unpaired_because": dict(comparison.unpaired_because),
        "costs": {
            side.name: [asdict(cost) for cost in costs(side.run)]
            for side in comparison.sides
            if side.run
        },
        "differences": {
            side.name: what_differs(baseline.run, side.run) for side in others if side.run
        },
    }


def _rollout_json(each: Compared) -> dict[str, Any]:
    candidate = each.candidate
    return {
        "rollout": candidate.rollout,
        "against": candidate.other,
        "label": candidate.label,
        "paired": candidate.paired,
        "status": each.status,
        "baseline": _counts(candidate.baseline),
        "later": _counts(candidate.later),
        "missing": candidate.missing,
        "difference": each.difference,
        "interval": interval_json(each.interval),
        "only_later": candidate.won,
        "only_baseline": candidate.lost,
        **{key: getattr(each, key) for key in ("p", "p_adjusted", "not_excluded", "findable")},
        "steps": asdict(candidate.steps) if candidate.steps else None,
    }


def _counts(tally: Tally) -> dict[str, int]:
    return {"successes": tally.successes, "episodes": tally.episodes, "broken": tally.broken}


def verdict(comparison: Comparison) -> str:
    """One sentence, the answer first."""

    def having(status: Status) -> list[Compared]:
        return [each for each in comparison.rollouts if each.status == status]

    def names(found: list[Compared]) -> list[str]:
        return [_name(comparison, each) for each in found]

    if found := having("regression"):
        losses = [f"{_name(comparison, each)} ({points(each.difference)} points)" for each in found]
        return (
            f"REGRESSION: {listed(losses)} {'is' if len(found) == 1 else 'are'} worse than in"
            f" {comparison.sides[0].name}."
        )
    if found := having("broken"):
        lost = listed(names(found))
        return f"OPEN: because of errors or timeouts it is not known whether {lost} lost."
    if (found := having("incomplete")) or comparison.unplayed:
        return (
            "OPEN: episodes are still missing in "
            f"{listed([*names(found), *comparison.unplayed])}; so far no regression is shown."
        )
    least = max(each.not_excluded for each in comparison.rollouts)
    number = len(comparison.rollouts)
    compared = f"{number} comparisons" if number > 1 else "one comparison"
    paired = all(each.candidate.paired for each in comparison.rollouts)
    return (
        f"{'N' if paired else f'{UNPAIRED}, n'}o regression is shown in {compared}; a loss of up to"
        f" {_plain(least)} points is not excluded."
    )


def rule(comparison: Comparison) -> str:
    """What is called a regression."""
    beyond = f" beyond {_plain(comparison.threshold)} points" if comparison.threshold else ""
    number = len(comparison.rollouts)
    holm = f" after Holm over {number} comparisons" if number > 1 else ""
    return (
        f"A regression is a loss{beyond} that is shown at a one-sided {100 * comparison.alpha:g}"
        f" %{holm}."
    )


def sections(comparison: Comparison) -> list[Section]:
    found = [_success(comparison)]
    if any(each.candidate.steps for each in comparison.rollouts):
        found.append(_steps(comparison))
    found += [_costs(comparison.sides[0], side) for side in comparison.sides[1:] if side.run]
    found += [_differences(comparison.sides[0], side) for side in comparison.sides[1:]]
    return [*found, Section("What this cannot show", notes=tuple(_limits(comparison)))]


def _success(comparison: Comparison) -> Section:
    level = f"{100 * (1 - comparison.alpha):g} % interval"
    sizes = ("baseline", "later", "difference", level, "only later, only baseline", "p of a loss")
    header = ("rollout", "against", *sizes, "")
    rows = tuple(_success_row(comparison, each) for each in comparison.rollouts)
    notes = [rule(comparison)]
    if len(comparison.rollouts) > 1:
        notes.append(
            "p is one-sided and adjusted (Holm); each interval is for one rollout alone. "
            "Differences are in percentage points."
        )
    for name, (common, planned) in comparison.common.items():
        if common < planned:
            notes.append(
                f"{name} has {common} of the {planned} episodes of the baseline's table in common;"
                " the others are left out."
            )
    notes += [
        f"{name}: {rollout} is not compared: {why}." for name, rollout, why in comparison.left_out
    ]
    return Section("Success", header, rows, tuple(notes))


def _success_row(comparison: Comparison, each: Compared) -> tuple[str, ...]:
    candidate = each.candidate
    how = "" if candidate.paired else f" {UNPAIRED}"
    return (
        candidate.rollout,
        f"{_against(comparison, candidate)}{how}",
        _tally(candidate.baseline),
        _tally(candidate.later),
        points(each.difference),
        interval_points(each.interval),
        f"{candidate.won}, {candidate.lost}" if candidate.paired else "-",
        p_value(each.p_adjusted),
        STATUS[each.status],
    )


def _steps(comparison: Comparison) -> Section:
    means = ("mean steps, later", "baseline", "two-sided p")
    header = ("rollout", "against", "later quicker, slower, alike", *means)
    rows = [
        (
            each.candidate.rollout,
            _against(comparison, each.candidate),
            f"{steps.quicker}, {steps.slower}, {steps.alike}",
            f"{steps.left_mean:.1f}",
            f"{steps.right_mean:.1f}",
            p_value(steps.p),
        )
        for each in comparison.rollouts
        if (steps := each.candidate.steps)
    ]
    title = "Steps to success (decide nothing; a failure counts as the most steps)"
    return Section(title, header, tuple(rows))


def _costs(baseline: Side, side: Side) -> Section:
    assert baseline.run is not None
    assert side.run is not None
    title = f"Speed of {side.name} (decides nothing)"
    theirs = {(cost.case, cost.unit): cost.value for cost in costs(side.run)}
    rows = [
        (cost.case, cost.unit, f"{cost.value:.4g}", f"{other:.4g}", f"{other / cost.value:.2f}")
        for cost in costs(baseline.run)
        if cost.value and (other := theirs.get((cost.case, cost.unit))) is not None
    ]
    if not rows:
        return Section(title, notes=("The two runs have no record of the same kind of speed.",))
    return Section(title, ("case", "unit", "baseline", "later", "later / baseline"), tuple(rows))


def _differences(baseline: Side, side: Side) -> Section:
    title = f"What differs in {side.name}"
    if side.external is not None:
        return Section(title, notes=(side.external.source, *side.external.flaws))
    assert baseline.run is not None
    assert side.run is not None
    differing = what_differs(baseline.run, side.run)
    more = len(differing) - MOST_DIFFERENCES
    notes = [*differing[:MOST_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])]
    return Section(title, notes=tuple(notes) or ("Nothing, as far as it is recorded.",))


def _limits(comparison: Comparison) -> list[str]:
    """What so few episodes leave open, and what pairs would have shown."""
    notes = []
    for each in comparison.rollouts:
        note = (
            f"{_name(comparison, each)}: a loss of up to {_plain(each.not_excluded)} points is not"
            " excluded"
        )
        if each.findable is not None:
            note += f"; a loss of {_plain(each.findable)} points would be shown"
        elif each.candidate.paired:
            note += f"; with {each.candidate.later.episodes} pairs no loss would be shown"
        shown = each.findable is not None or each.candidate.paired
        notes.append(f"{note}{' with a chance of 80 %' if shown else ''}.")
    for name, why in comparison.unpaired_because.items():
        notes.append(
            f"{name} is {UNPAIRED}: {why}. Episodes are treated as independent within each task; "
            "different scenes may be the reason for a difference."
        )
    if any(side.run and side.run.plan.last_look > 1 for side in comparison.sides):
        notes.append(
            "A sequential run stops when its own claims are decided; this comparison does not"
            " account for that."
        )
    return notes


def _name(comparison: Comparison, each: Compared) -> str:
    """The rollout; if there are several sides, with what it is compared with."""
    candidate = each.candidate
    if len(comparison.sides) == 2 and not candidate.label:
        return candidate.rollout
    return f"{candidate.rollout} of {_against(comparison, candidate)}"


def _against(comparison: Comparison, candidate: Candidate) -> str:
    side = next(side for side in comparison.sides if side.name == candidate.other)
    label = f" ({candidate.label})" if candidate.label else ""
    return f"{side.external.name if side.external else side.name}{label}"


def _tally(tally: Tally) -> str:
    broken = f", {tally.broken} broken" if tally.broken else ""
    return f"{tally.successes}/{tally.episodes} ({percent(tally.rate)}{broken})"


def _plain(difference: float) -> str:
    return f"{100 * difference:.1f}"
