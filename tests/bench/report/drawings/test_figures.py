"""Geometry of the figures."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic_run import core_plan, plan_of, rows_by_case, write_run

from bench.plan.document import Plan
from bench.record.run import Run, read_run
from bench.report.content import report_content
from bench.report.drawings.axes import Axis, nice_axis
from bench.report.drawings.curves import (
    MOST_CURVE_POINTS,
    binned,
    curves,
    curves_by_k,
    line_styles,
    prophet,
)
from bench.report.drawings.figures import forest
from bench.report.drawings.grids import MOST_CELLS, MOST_GRIDS, grids
from wmvla.recipe import EpisodeRow

NOWHERE = Path("nowhere")

finite = st.floats(-1e6, 1e6)


@given(finite, finite, st.integers(1, 10))
@example(0.0, 5e-324, 1)
@example(-2.225e-311, 2.225e-311, 3)
@example(1e-300, 1e-300, 10)
def test_axes_hold_their_bounds_and_have_few_round_ticks(
    one: float, other: float, ticks: int
) -> None:
    lower, upper = sorted((one, other))
    axis = nice_axis(lower, upper, ticks)
    slack = 1e-6 * (axis.upper - axis.lower)
    assert axis.upper > axis.lower
    assert axis.lower <= lower + slack
    assert axis.upper >= upper - slack
    assert 2 <= len(axis.ticks) <= ticks + 3
    assert list(axis.ticks) == sorted(axis.ticks)


@pytest.mark.parametrize(
    ("lower", "upper", "ticks", "expected"),
    [
        (0.0, 0.75, 4, (0, 0.2, 0.4, 0.6, 0.8)),
        (0.0, 600.0, 4, (0, 200, 400, 600)),
        (-0.03, 0.05, 3, (-0.05, 0, 0.05)),
        (-0.03, 0.05, 4, (-0.04, -0.02, 0, 0.02, 0.04, 0.06)),
        (0.0, 0.0, 3, (-0.5, 0, 0.5)),
    ],
)
def test_ticks(lower: float, upper: float, ticks: int, expected: tuple[float, ...]) -> None:
    assert nice_axis(lower, upper, ticks).ticks == pytest.approx(expected)


@given(finite)
def test_positions_stay_on_the_plot(value: float) -> None:
    assert 0 <= Axis(-1.0, 2.0, ()).at(value) <= 100


def test_positions_are_linear() -> None:
    axis = Axis(-0.5, 0.5, ())
    assert [axis.at(value) for value in (-0.5, 0.0, 0.25, 0.5)] == [0, 50, 75, 100]


def claim(difference: float | None, reach: float, margin: float | None = None) -> dict[str, object]:
    bounds = {"lower": -reach, "upper": reach}
    return {
        "difference": difference,
        "margin": margin,
        "effect": None if margin else 0.1,
        "interval": bounds,
        "tost_interval": bounds,
    }


def test_forest_is_symmetric_about_zero() -> None:
    plot = forest([claim(0.1, 0.37, margin=0.05), claim(None, 1.0)])
    positions = {value: at for at, value in plot["ticks"]}
    assert positions[0.0] == 50
    assert min(positions) == -max(positions) == -0.4
    assert plot["rows"][0]["margin"] == (43.75, 56.25)
    assert plot["rows"][0]["marks"]["point"] == 62.5
    assert [row["effect"] for row in plot["rows"]] == [None, 62.5]
    assert plot["rows"][1]["marks"] is None


@given(st.integers(0, 2000))
def test_curves_are_short_and_keep_their_mean(length: int) -> None:
    lines = [{"step": step, "loss": float(step % 7)} for step in range(length)]
    points = binned(lines, "loss")
    assert len(points) <= MOST_CURVE_POINTS
    if length and length % 120 == 0:
        assert sum(y for _, y in points) / len(points) == pytest.approx(
            sum(line["loss"] for line in lines) / length
        )


def test_lines_without_a_figure_are_left_out() -> None:
    assert binned(
        [{"step": 1}, {"step": 2, "world_cos": 0.5}, {"step": 3, "world_cos": None}], "world_cos"
    ) == [(2.0, 0.5)]


def run_of(
    outcomes: dict[str, list[bool | str | None]], metrics: dict[str, list[dict[str, object]]]
) -> Run:
    plan = core_plan("smoke", episodes=4)
    rows = {case.id: [] for case in plan.rollout_cases()} | rows_by_case(plan, outcomes)
    return Run(NOWHERE, plan, rows=rows, metrics=metrics)


def test_grid_sums_repeats_and_finds_discordance() -> None:
    """Four episodes: init 1, init 2, and both again."""
    found = grids(
        run_of(
            {
                "E0-none": [True, True, True, False],
                "E1-zero": [True, True, True, True],
                "E2-pred": [True, None, "error", None],
            },
            {},
        )
    )
    (grid,) = found
    assert grid["inits"] == [1, 2]
    shares = {row["rollout"]: [cell["share"] for cell in row["cells"]] for row in grid["rows"]}
    assert shares == {
        "E0-none": [1, 0.5],
        "E1-zero": [1, 1],
        "E2-pred": [0.5, None],
        "E2-zero": [None, None],
        "E2-random": [None, None],
    }
    assert grid["discordant"] == [True, True]
    assert grid["rows"][2]["cells"][0]["broken"]
    assert grid["rows"][2]["cells"][0]["title"] == "E2-pred-s0, init 1: 1 of 2 solved, 1 broken"


def test_curves_show_what_was_logged_only() -> None:
    lines: list[dict[str, object]] = [
        {"step": 1, "action_loss": 0.5},
        {"step": 2, "action_loss": 0.25},
    ]
    plots = curves(run_of({}, {"E0-train-s0": lines, "E1-train-s0": []}))
    assert [plot["title"] for plot in plots] == ["Action loss"]
    (path,) = plots[0]["paths"]
    assert path["case"] == "E0-train-s0"
    assert path["d"].startswith("M50 ")


def test_colours_are_for_arms_with_memory_and_differ() -> None:
    assert line_styles(core_plan()) == {"E0": "solid", "E1": "dashed", "E2": "accent"}
    for suite in ("fusion", "memory"):
        styles = line_styles(plan_of(suite))
        assert styles["E0"] == "solid"
        assert styles["E2"] == "accent"
        assert len(set(styles.values())) == len(styles) == 7


def test_the_gate_of_an_arm_is_the_one_that_it_has(tmp_path: Path) -> None:
    plan = plan_of("fusion", arms=("E0", "F2"))
    run_dir = write_run(tmp_path / "run", plan, {}, metrics=False)
    (run_dir / "metrics").mkdir()
    (run_dir / "metrics" / "F2-train-s0.jsonl").write_text(
        '{"step": 1, "world_gate_suffix_in": -0.25, "world_gate_prefix": 0.1}\n'
    )
    (line,) = read_run(run_dir).metrics["F2-train-s0"]
    assert line["world_gate"] == -0.25


def test_the_prophets_cosines_are_one_path_each_and_the_baseline(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", core_plan("mini"), {}))
    plot = prophet(run, report_content(run, []))
    assert plot is not None
    assert [(path["case"], path["style"]) for path in plot["paths"]] == [
        ("E2-replay-s0", "accent"),
        ("E1-replay-s0", "dashed"),
        ("mean change", "baseline"),
    ]
    assert [tick for _, tick in plot["x_ticks"]] == list(range(1, 9))
    assert prophet(run_of({}, {}), report_content(run_of({}, {}), [])) is None


def test_curves_by_k_are_a_panel_an_arm_on_the_same_axes(tmp_path: Path) -> None:
    """Of several seeds their mean; steps that are no list of finite numbers are left out."""
    plan = core_plan("mini", seeds=(0, 1))
    metrics = {
        "E1-train-s0": [{"step": 600, "world_cos_k": [0.0, 0.25]}],
        "E2-train-s0": [
            {"step": 300, "world_cos_k": [0.5, 0.5]},
            {"step": 600, "world_cos_k": [float("nan"), 0.5]},
        ],
        "E2-train-s1": [{"step": 300, "world_cos_k": [0.0, 0.5]}, {"step": 450}],
    }
    (plot,) = curves_by_k(Run(NOWHERE, plan, rows={}, metrics=metrics))
    assert plot["title"] == "World cosine by k"
    assert [panel["title"] for panel in plot["panels"]] == ["E1", "E2"]
    assert [[path["d"] for path in panel["paths"]] for panel in plot["panels"]] == [
        ["M100 100", "M100 58.33"],  # the axis goes from 0 to 0.6
        ["M50 58.33", "M50 16.67"],
    ]
    assert plot["panels"][0]["y_ticks"] == plot["panels"][1]["y_ticks"]
    assert plot["keys"] == [(1, 0.0), (2, 1.0)]


def test_grids_stay_small_and_show_discordant_columns_first() -> None:
    plan = core_plan("smoke", episodes=4)
    wide = dataclasses.replace(
        plan,
        episodes=tuple(dataclasses.replace(row, init=row.index) for row in many_rows(plan, 10_000)),
    )

    def place(index: int) -> dict[str, object]:
        return {
            "index": index,
            "task": 7,
            "init": index,
            "status": "ok",
            "success": False,
            "steps": 9,
        }

    rows = {case.id: [] for case in plan.rollout_cases()}
    rows["E0-none-s0"] = [place(i) | {"success": i == 9_999} for i in (5, 9_999)]
    rows["E1-zero-s0"] = [place(i) for i in (5, 9_999)]
    (grid,) = grids(Run(NOWHERE, wide, rows=rows))
    assert grid["of"] == 10_000
    assert len(grid["inits"]) * len(grid["rows"]) <= MOST_CELLS
    assert grid["inits"][-1] == 9_999
    assert grid["discordant"].count(True) == 1
    many = core_plan("full", seeds=tuple(range(9)))
    assert (
        len(grids(Run(NOWHERE, many, rows={case.id: [] for case in many.rollout_cases()})))
        == MOST_GRIDS
    )


def many_rows(plan: Plan, number: int) -> list[EpisodeRow]:
    return [dataclasses.replace(plan.episodes[0], index=index) for index in range(number)]
