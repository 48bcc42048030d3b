"""Parity of made-up runs: what is the same passes, and each thing that differs is named and
fails."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import PROVENANCE, core_plan, drawn_outcomes, write_run

from bench.cli import main
from bench.compare.parity import compare
from bench.compare.parity_words import parity_page
from bench.plan.document import Plan
from bench.plan.files import load_plan
from bench.plan.machine import load_machine
from bench.record.run import Run
from wmvla.files import write_json

RECORDED = PROVENANCE | {
    "code_sha256": "c" * 64,
    "golden_frame_sha256": "f" * 64,
    "torch": {"version": "2.11.0", "devices": [{"name": "some GPU", "memory_bytes": 2**36}]},
}
RATES = {"E0-none": 0.71, "E1-zero": 0.71, "E2-pred": 0.83, "E2-zero": 0.69, "E2-random": 0.58}
PAIRS = 240


def on(plan: Plan, machine: str) -> Plan:
    return dataclasses.replace(plan, machine=load_machine(machine))


def throughput(gemm: float, train: float) -> dict[str, Any]:
    figures = [
        ("gemm_bf16", gemm, "TFLOP/s"),
        ("train_E0", train, "samples/s"),
        ("step_ratio", 1.04, "x"),
    ]
    infos = [{"figure": figure, "value": value, "unit": unit} for figure, value, unit in figures]
    return {
        "benchmarks": [
            {"name": "another", "extra_info": {}},
            *({"extra_info": info} for info in infos),
        ]
    }


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The same plan on an H100 and an MI300X; the second solves one episode of E0 that the first
    does not."""
    plan = core_plan("mini", episodes=PAIRS)
    outcomes = drawn_outcomes(plan, RATES)
    runs = []
    for machine, other in (("h100", False), ("mi300x", True)):
        run_dir = tmp_path / machine
        mine = {case: list(rows) for case, rows in outcomes.items()}
        if other:
            mine["E0-none-s0"][mine["E0-none-s0"].index(False)] = True
        write_run(run_dir, on(plan, machine), mine, metrics=False, records=False)
        write_json(run_dir / "provenance.json", RECORDED)
        runs.append(run_dir)
    return runs[0], runs[1]


def status_of(two: tuple[Path, Path]) -> dict[str, str]:
    parity = compare(Run(two[0]), Run(two[1]))
    found: dict[str, str] = {each.what: each.status for each in parity.aspects}
    return found | {each.rollout: each.status for each in parity.successes}


def test_the_same_on_two_machines_is_certified(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(status_of(two).values()) == {"same"}
    assert main(["compare", *map(str, two), "--parity"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# Parity certificate: core-mini-h100-")
    assert "every rollout is equivalent within 5.0 points" in page
    assert len(page.splitlines()) < 60, "one page"
    assert "| E0-none | 240 of 240 | -0.4 | " in page
    assert "| machine | h100 | mi300x |" in page


def recorded(**changed: Any) -> Callable[[Path], None]:
    def change(run_dir: Path) -> None:
        write_json(run_dir / "provenance.json", {**RECORDED, **changed})

    return change


def without(key: str) -> Callable[[Path], None]:
    def change(run_dir: Path) -> None:
        write_json(
            run_dir / "provenance.json",
            {name: value for name, value in RECORDED.items() if name != key},
        )

    return change


def rewrite_journal(
    run_dir: Path, case: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    path = run_dir / "episodes" / f"{case}.jsonl"
    rows = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def another_scene(run_dir: Path) -> None:
    """In all journals, as a machine with another physics would have it."""
    for path in (run_dir / "episodes").glob("*.jsonl"):
        rewrite_journal(
            run_dir,
            path.stem,
            lambda rows: [
                row | {"scene_hash": "0" * 32} if row["init"] == 20 else row for row in rows
            ],
        )


def half_played(run_dir: Path) -> None:
    rewrite_journal(run_dir, "E2-pred-s0", lambda rows: rows[: PAIRS // 2])


def never_solved(run_dir: Path) -> None:
    rewrite_journal(run_dir, "E2-pred-s0", lambda rows: [row | {"success": False} for row in rows])


def a_bit_worse(run_dir: Path) -> None:
    """12 of 240 lost: 5 points, on the margin."""
    solved = 0

    def lose(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        nonlocal solved
        for row in rows:
            solved += row["success"]
            row["success"] = row["success"] and solved > 12
        return rows

    rewrite_journal(run_dir, "E2-pred-s0", lose)


def broken_ones(run_dir: Path) -> None:
    """20 solved episodes whose outcome is not known: read as failures they are too many."""
    left = 20

    def spoil(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        nonlocal left
        for row in rows:
            if row["success"] and left:
                row |= {"success": False, "status": "error", "error": "made up"}
                left -= 1
        return rows

    rewrite_journal(run_dir, "E2-pred-s0", spoil)


@pytest.mark.parametrize(
    ("change", "what", "status", "words"),
    [
        (
            recorded(gl_renderer="NVIDIA / H100 / 4.6"),
            "renderer",
            "differs",
            "gl renderer: llvmpipe (made up) and NVIDIA / H100",
        ),
        (recorded(packages={"mujoco": "3.8.1"}), "renderer", "differs", "mujoco: 3.3.2 and 3.8.1"),
        (
            recorded(gl_renderer={"error": "no OpenGL"}),
            "renderer",
            "not shown",
            "gl renderer: not recorded in mi300x",
        ),
        (
            recorded(golden_frame_sha256="e" * 64),
            "golden frame",
            "differs",
            f"golden frame: {'f' * 16} and {'e' * 16}",
        ),
        (
            without("golden_frame_sha256"),
            "golden frame",
            "not shown",
            "golden frame: not recorded in mi300x",
        ),
        (recorded(code_sha256="d" * 64), "code", "differs", f"code: {'c' * 16} and {'d' * 16}"),
        (another_scene, "scenes", "differs", "libero_object, task 7, init 20: other scene"),
        (half_played, "E2-pred", "not shown", "| E2-pred | 120 of 240 | 0.0 |"),
        (never_solved, "E2-pred", "differs", "success of E2-pred differ."),
        (a_bit_worse, "E2-pred", "not shown", "not shown: success of E2-pred."),
        (broken_ones, "E2-pred", "not shown", "not shown: success of E2-pred."),
    ],
)
def test_what_differs_is_named_and_nothing_else(
    two: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    what: str,
    status: str,
    words: str,
) -> None:
    change(two[1])
    found = status_of(two)
    assert found.pop(what) == status
    assert set(found.values()) == {"same"}
    assert main(["compare", *map(str, two), "--parity"]) == 1
    page = capsys.readouterr().out
    assert page.startswith("# No parity: ")
    assert words in page


def test_another_recipe_is_named_by_its_keys(two: tuple[Path, Path], tmp_path: Path) -> None:
    plan = load_plan(two[1])
    training = dataclasses.replace(plan.recipe.training, learning_rate=5e-4)
    write_run(
        tmp_path / "other",
        dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, training=training)),
        {},
    )
    found = compare(Run(two[0]), Run(tmp_path / "other"))
    assert found.aspects[0].status == "differs"
    assert found.aspects[0].lines == ("recipe.training.learning_rate: 0.0003 and 0.0005",)


def test_other_episodes_are_no_pairs(two: tuple[Path, Path], tmp_path: Path) -> None:
    other = on(core_plan("mini", episodes=24), "mi300x")
    write_run(tmp_path / "other", other, drawn_outcomes(other, RATES))
    parity = compare(Run(two[0]), Run(tmp_path / "other"))
    assert parity.successes == ()
    assert not parity.holds
    assert "the plans have different episodes" in parity_page(parity)


def test_machines_may_differ_in_all_that_a_machine_is(two: tuple[Path, Path]) -> None:
    """Processes and precision are the machine's; the hash of the plan has them."""
    first, second = (load_plan(run_dir) for run_dir in two)
    assert first.hash != second.hash
    assert status_of(two)["plan"] == "same"


def test_speed_is_divided_by_the_measured_product_and_decides_nothing(
    two: tuple[Path, Path],
) -> None:
    write_json(two[0] / "throughput.json", throughput(gemm=700.0, train=140.0))
    write_json(two[1] / "throughput.json", throughput(gemm=500.0, train=50.0))
    parity = compare(Run(two[0]), Run(two[1]))
    assert parity.holds
    product, train, ratio = parity.speeds
    assert (product.figure, product.normalised) == ("gemm_bf16", None)
    assert train.normalised == pytest.approx((0.2, 0.1))
    assert ratio.normalised is None, "a ratio is of one device already"
    assert "| train_E0 | samples/s | 140 | 50 | 0.36 | 0.50 |" in parity_page(parity)


def test_where_speed_was_not_measured_the_page_says_how(two: tuple[Path, Path]) -> None:
    page = parity_page(compare(Run(two[0]), Run(two[1])))
    assert "Not measured in " in page
    assert "`throughput.json`" in page


def test_json_says_the_same(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    never_solved(two[1])
    assert main(["compare", *map(str, two), "--parity", "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["parity"] is False
    assert {each["rollout"]: each["status"] for each in content["successes"]}[
        "E2-pred"
    ] == "differs"
    assert content["margin"] == 0.05


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{0}", "{0}", "--parity"], "this run is given twice"),
        (["{0}", "{1}/episodes", "--parity"], "not a run directory"),
    ],
)
def test_bad_use_is_one_line_and_exits_2(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["compare", *(argument.format(*two) for argument in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
