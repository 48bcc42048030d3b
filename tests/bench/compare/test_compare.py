"""`wmbench compare` of made-up runs: a planted loss is found, chance is not, and what is no pair is
never called one."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from synthetic_run import Outcome, core_plan, drawn_outcomes, write_run

from bench.cli import main
from bench.compare.regressions import compare
from bench.compare.sides import load_sides
from bench.plan.files import load_plan
from wmvla.errors import UserError

ROOT = Path(__file__).parents[3]
RATES = {"E0-none": 0.71, "E1-zero": 0.71, "E2-pred": 0.83, "E2-zero": 0.69, "E2-random": 0.58}
PAIRS = 120
Outcomes = dict[str, list[Outcome]]


def lose(outcomes: Outcomes, case: str, number: int, as_outcome: Outcome = False) -> None:
    """The first `number` successes of a case are none any more."""
    left = number
    for i, outcome in enumerate(outcomes[case]):
        if outcome is True and left:
            outcomes[case][i] = as_outcome
            left -= 1
    assert not left


@pytest.fixture
def two(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """The same plan twice, the second run with some changed outcomes."""

    def make(
        change: Callable[[Outcomes], None] = lambda outcomes: None, episodes: int = PAIRS
    ) -> tuple[Path, Path]:
        plan = core_plan("mini", episodes=episodes)
        outcomes = drawn_outcomes(plan, RATES)
        write_run(tmp_path / "before", plan, outcomes)
        later = {case: list(rows) for case, rows in outcomes.items()}
        change(later)
        write_run(tmp_path / "after", plan, later)
        return tmp_path / "before", tmp_path / "after"

    return make


def statuses(
    paths: Sequence[Path], threshold: float = 0.0, unpaired: bool = False
) -> dict[str, str]:
    return {
        each.candidate.rollout: each.status
        for each in compare(load_sides(paths), threshold, unpaired).rollouts
    }


def test_an_equal_run_passes_and_says_what_it_cannot_exclude(
    two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = two()
    assert main(["compare", str(before), str(after)]) == 0
    text = capsys.readouterr().out
    first = text.splitlines()[0]
    assert first.startswith("No regression is shown in 5 comparisons; a loss of up to 3.")
    assert "E0-none: a loss of up to " in text
    assert "would be shown with a chance of 80 %" in text
    assert "Nothing, as far as it is recorded." in text


def test_a_planted_loss_is_a_regression_of_that_rollout_alone(
    two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 12))
    assert main(["compare", str(before), str(after)]) == 1
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "REGRESSION: E2-pred (-10.0 points) is worse than in before."
    assert "0, 12" in text
    found = statuses((before, after))
    assert found.pop("E2-pred") == "regression"
    assert set(found.values()) == {"none shown"}


def test_the_other_way_round_it_is_a_gain_and_passes(two: Any) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 12))
    assert set(statuses((after, before)).values()) == {"none shown"}


def test_several_rollouts_are_not_several_chances_to_fail(two: Any) -> None:
    """Six lost of six has p = 1/64: below 5 % alone, but not among five comparisons."""
    before, after = two(lambda later: lose(later, "E0-none-s0", 6))
    (found,) = [
        each
        for each in compare(load_sides((before, after))).rollouts
        if each.candidate.rollout == "E0-none"
    ]
    assert found.p == pytest.approx(1 / 64)
    assert found.p_adjusted == pytest.approx(5 / 64)
    assert found.status == "none shown"
    assert found.not_excluded > 0.05


@pytest.mark.parametrize(
    ("threshold", "status"), [(0.0, "regression"), (0.02, "regression"), (0.1, "none shown")]
)
def test_a_tolerated_loss_is_no_regression(two: Any, threshold: float, status: str) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 12))
    assert statuses((before, after), threshold)["E2-pred"] == status


def test_the_threshold_is_an_option_and_stands_in_the_rule(
    two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, two(lambda later: lose(later, "E2-pred-s0", 12)))
    assert main(["compare", before, after, "--regression", "0.1"]) == 0
    assert (
        "a loss beyond 10.0 points that is shown at a one-sided 5 % after Holm over 5"
        in capsys.readouterr().out
    )


def test_errors_that_could_be_losses_leave_it_open(
    two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 12, "error"))
    assert main(["compare", str(before), str(after)]) == 1
    text = capsys.readouterr().out
    assert (
        text.splitlines()[0]
        == "OPEN: because of errors or timeouts it is not known whether E2-pred lost."
    )
    assert ", 12 broken)" in text


def test_missing_episodes_leave_it_open(two: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 3, None))
    assert main(["compare", str(before), str(after)]) == 1
    assert "OPEN: episodes are still missing in E2-pred" in capsys.readouterr().out


def test_more_episodes_of_the_same_table_are_paired_where_both_have_them(tmp_path: Path) -> None:
    """With several tasks the same episode has another index in a longer table."""
    runs = []
    for episodes in (6, 10):
        plan = core_plan("full", episodes=episodes)
        outcomes: Outcomes = {
            case.id: [row.task == 3 and row.init % 2 == 0 for row in plan.episodes]
            for case in plan.rollout_cases()
        }
        runs.append(write_run(tmp_path / str(episodes), plan, outcomes, metrics=False))
    found = compare(load_sides(runs))
    assert found.common == {"10": (60, 60)}
    assert {(each.candidate.won, each.candidate.lost) for each in found.rollouts} == {(0, 0)}
    assert {each.candidate.baseline.successes for each in found.rollouts} == {3}
    turned = compare(load_sides(runs[::-1]))
    assert turned.common == {"6": (60, 100)}
    assert {each.status for each in turned.rollouts} == {"none shown"}, (
        "what the shorter plan lacks is not missing"
    )


def test_training_seeds_are_paired_with_their_like(tmp_path: Path) -> None:
    """A run of seeds 0 and 1 against one of 1 and 2: seed 1 alone is in both."""
    runs = []
    for seeds in ((0, 1), (1, 2)):
        plan = core_plan("mini", seeds=seeds)
        outcomes: Outcomes = {case.id: [case.seed == 1] * 24 for case in plan.rollout_cases()}
        runs.append(write_run(tmp_path / f"seeds{seeds[0]}", plan, outcomes, metrics=False))
    for each in compare(load_sides(runs)).rollouts:
        assert (
            each.candidate.baseline.successes,
            each.candidate.baseline.episodes,
            each.status,
        ) == (24, 24, "none shown")
    apart = write_run(tmp_path / "apart", core_plan("mini", seeds=(7,)), {}, metrics=False)
    with pytest.raises(UserError, match=r"no training seed in common \(0, 1 and 7\)"):
        compare(load_sides([runs[0], apart]))


def test_a_sequential_run_is_compared_up_to_where_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = core_plan("full", episodes=50, sequential="obrien-fleming")
    outcomes: Outcomes = {
        case.id: [
            True if case.rollout == "E2-pred" else None if row.init >= 30 else False
            for row in plan.episodes
        ]
        for case in plan.rollout_cases()
    }
    runs = [
        write_run(tmp_path / name, plan, outcomes, metrics=False) for name in ("before", "after")
    ]
    assert main(["compare", *map(str, runs)]) in (0, 1)
    assert "A sequential run stops when its own claims are decided" in capsys.readouterr().out


def test_three_runs_are_weighed_together(
    two: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 20))
    plan = load_plan(before)
    third = write_run(tmp_path / "third", plan, drawn_outcomes(plan, RATES))
    assert main(["compare", str(before), str(third), str(after)]) == 1
    text = capsys.readouterr().out
    assert text.startswith("REGRESSION: E2-pred of after (-16.7 points) is worse than in before.")
    assert "after Holm over 10 comparisons" in text


def another_seed_of_the_noise(tmp_path: Path, before: Path) -> Path:
    """A run of the same tasks whose episodes are others."""
    from dataclasses import replace

    from bench.plan.episode_table import make_episode_table

    plan = load_plan(before)
    recipe = replace(plan.recipe, rollout=replace(plan.recipe.rollout, noise_seed=1))
    other = replace(plan, recipe=recipe, episodes=make_episode_table(recipe))
    return write_run(
        tmp_path / "other-noise", other, drawn_outcomes(other, RATES | {"E2-pred": 0.5})
    )


def test_other_episodes_are_refused_or_marked_unpaired(
    two: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = two()
    other = another_seed_of_the_noise(tmp_path, before)
    assert main(["compare", str(before), str(other)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: before and other-noise cannot be paired: their plans have no episode in common"
    )
    assert line.endswith("give --unpaired to compare them as they are")
    assert main(["compare", str(before), str(other), "--unpaired"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("REGRESSION: E2-pred (")
    assert text.count("other-noise UNPAIRED") == 5
    assert "other-noise is UNPAIRED: their plans have no episode in common" in text


def test_an_unpaired_pass_says_so_in_its_first_line(
    two: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = two()
    other = another_seed_of_the_noise(tmp_path, before)
    assert (
        main(["compare", str(before), str(other), "--unpaired", "--regression=0.9", "--markdown"])
        == 0
    )
    assert "**UNPAIRED, no regression is shown in 5 comparisons" in capsys.readouterr().out


def test_another_scene_is_no_pair(two: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = two()
    for path in (after / "episodes").iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        changed = [row | {"scene_hash": "0" * 32} if row["init"] == 23 else row for row in rows]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in changed))
    assert main(["compare", str(before), str(after)]) == 2
    assert "libero_object, task 7, init 23 began in a different scene" in capsys.readouterr().err


def test_what_can_be_paired_is_paired_though_unpaired_is_allowed(two: Any) -> None:
    assert all(each.candidate.paired for each in compare(load_sides(two()), unpaired=True).rollouts)


def test_other_tasks_are_refused_even_unpaired(
    two: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = two()
    plan = core_plan("full", episodes=1)
    other = write_run(tmp_path / "spatial", plan, drawn_outcomes(plan, RATES), metrics=False)
    assert main(["compare", str(before), str(other), "--unpaired"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "they play different tasks: libero_object 7 and libero_spatial 0-9" in line


def test_a_published_table_is_compared_task_by_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = core_plan("full", episodes=2)
    run = write_run(
        tmp_path / "run",
        plan,
        {case.id: [True] * 20 for case in plan.rollout_cases()},
        metrics=False,
    )
    published = ROOT / "results" / "reference" / "published" / "reference_project.json"
    assert main(["compare", str(run), str(published)]) == 2
    assert "reference_project has no single episodes, only success rates" in capsys.readouterr().err
    assert main(["compare", str(run), str(published), "--unpaired", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    told = {(each["rollout"], each["label"]): each for each in content["rollouts"]}
    assert len(told) == 5
    two_tasks = told["E2-pred", "200 episodes a task, tasks 0 and 1, libero_spatial"]
    assert two_tasks["baseline"]["episodes"] == 4, "of the tasks that the table has"
    assert two_tasks["later"] == {"successes": 336, "episodes": 400, "broken": 0}
    assert {each["paired"] for each in content["rollouts"]} == {False}
    assert [each["rollout"] for each in content["left_out"]] == ["E2-zero", "E2-random"]


def test_what_is_printed_as_json_satisfies_its_schema(
    two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = two(lambda later: lose(later, "E2-pred-s0", 12))
    assert main(["compare", str(before), str(after), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    schema = json.loads(
        (ROOT / "bench" / "formats" / "schemas" / "comparison.schema.json").read_text()
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)
    assert content["passes"] is False
    (lost,) = [each for each in content["rollouts"] if each["status"] == "regression"]
    assert (lost["rollout"], lost["only_later"], lost["only_baseline"], lost["difference"]) == (
        "E2-pred",
        0,
        12,
        -0.1,
    )


def test_a_difference_in_the_plan_is_named(
    two: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = two()
    plan = core_plan("mini", episodes=PAIRS, steps=1200)
    other = write_run(tmp_path / "longer", plan, drawn_outcomes(plan, RATES))
    assert main(["compare", str(before), str(other)]) == 0
    assert "- recipe.training.steps: 600 and 1200" in capsys.readouterr().out


def test_speed_is_told_from_the_records(two: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = two()
    for run, seconds in ((before, 32.0), (after, 64.0)):
        path = run / "cases" / "E0-train-s0.json"
        path.write_text(
            json.dumps(
                json.loads(path.read_text())
                | {"last": {"step": 600, "samples": 19200, "seconds": seconds}}
            )
        )
    main(["compare", str(before), str(after)])
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("E0-train-s0")
    ]
    assert line.split() == ["E0-train-s0", "samples/s", "600", "300", "0.50"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{0}"], "give two or more"),
        (["{0}", "{0}"], "this run is given twice"),
        (["{0}", "{1}/episodes"], "not a run directory"),
        (["{0}", "{1}/cases/base.json"], "not an imported result (it has no 'tables')"),
        (["{0}", "{1}", "--regression=5"], "must be at least 0 and less than 1"),
        (["{0}", "{1}", "--parity", "--unpaired"], "--unpaired cannot be used with --parity"),
        (["{0}", "{1}", "{1}", "--parity"], "--parity compares two runs"),
    ],
)
def test_bad_use_is_one_line_and_exits_2(
    two: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["compare", *(argument.format(*two()) for argument in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
