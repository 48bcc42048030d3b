"""Hundreds of experiments of every truth, in the program's own hands; and that a broken promise is
seen."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bench.calibration.__main__ import main
from bench.calibration.checks import experiment_checks, promised, table, within
from bench.calibration.experiments import run_scenario
from bench.calibration.scenarios import (
    ROLLOUTS,
    SCENARIOS,
    SEQUENTIAL,
    Scenario,
    discordant_rate,
    draw,
    is_true,
    simulated_plan,
    true_difference,
)

CLUSTERS = next(scenario for scenario in SCENARIOS if scenario.name == "clusters")


def smaller(scenario: Scenario) -> Scenario:
    resamples = 200 if scenario.spending else 500
    return dataclasses.replace(
        scenario, inits=min(scenario.inits, 120 // scenario.tasks), resamples=resamples
    )


OFTEN = (
    "clusters", "24 pairs", "unequal tasks", "one of three", "three seeds that differ", "errors that hide",
    "clusters, pocock looks", "effect, obrien-fleming looks",
)  # fmt: skip
"""One scenario for each thing that a draw or a test does; the slow test has all, in twenty times as
many experiments."""
BY_NAME = {scenario.name: scenario for scenario in (*SCENARIOS, *SEQUENTIAL)}


@pytest.mark.parametrize("scenario", [BY_NAME[name] for name in OFTEN], ids=OFTEN)
def test_promises_are_kept_in_small_experiments(scenario: Scenario) -> None:
    checks = experiment_checks(
        run_scenario(smaller(scenario), 30 if scenario.spending else 100, seed=1)
    )
    assert [check.what for check in checks if not check.holds] == []


def test_stopping_early_saves_episodes_and_flatters_the_estimate() -> None:
    found = {}
    for spending in (None, "pocock"):
        scenario = next(
            s
            for s in (*SCENARIOS, *SEQUENTIAL)
            if s.name.startswith("effect") and s.spending == spending
        )
        found[spending] = run_scenario(dataclasses.replace(scenario, resamples=200), 100, seed=2)
    assert found[None].played == 1
    assert found["pocock"].played < 0.95
    gains = {
        spending: next(one for one in tally.claims if one.true and one.difference > 0)
        for spending, tally in found.items()
    }
    assert abs(gains[None].bias) < 0.008
    assert gains["pocock"].bias > gains[None].bias + 0.004


@pytest.mark.slow
def test_every_promise_is_kept_in_2000_experiments(tmp_path: Path) -> None:
    assert main([f"--out={tmp_path}"]) == 0


def test_the_command_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--experiments=1", f"--out={tmp_path}"])
    written = json.loads((tmp_path / "calibration.json").read_text())
    printed = capsys.readouterr().out.splitlines()
    assert code == (0 if all(check["holds"] for check in written["checks"]) else 1)
    assert len(printed) == len(written["checks"]) + 2
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_counts_and_another_does_not() -> None:
    small = smaller(CLUSTERS)
    assert run_scenario(small, 10, seed=3) == run_scenario(small, 10, seed=3)
    assert run_scenario(small, 10, seed=3) != run_scenario(small, 10, seed=4)


def test_a_broken_promise_is_seen() -> None:
    """A test blind to clusters rejects far too often here, and is told so."""
    tally = run_scenario(smaller(CLUSTERS), 100, seed=1)
    blind = next(one.naive for one in tally.claims if one.difference == 0)
    assert not within(blind, 100, 0, 0.05)
    liar = dataclasses.replace(
        tally, claims=tuple(dataclasses.replace(one, supported=one.naive) for one in tally.claims)
    )
    broken = [check for check in experiment_checks(liar) if not check.holds]
    assert broken
    assert "BROKEN" in "\n".join(table(broken))


@pytest.mark.parametrize(
    ("found", "at_least", "at_most", "kept"),
    [
        (5, 0, 0.05, True),
        (10, 0, 0.05, True),
        (20, 0, 0.05, False),
        (80, 0.8, 1, True),
        (60, 0.8, 1, False),
        (0, 0, 1, True),
    ],
)
def test_within(found: int, at_least: float, at_most: float, kept: bool) -> None:
    assert within(found, 100, at_least, at_most) is kept


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_drawn_rates_and_pairs_are_the_true_ones(scenario: Scenario) -> None:
    claim = simulated_plan(scenario).claims[1]
    many = dataclasses.replace(scenario, inits=30_000 // scenario.tasks, repeats=1, training=0.0)
    succeeds, breaks = draw(many, np.random.default_rng(0))
    assert succeeds.mean(axis=(1, 2)) == pytest.approx(
        [np.mean(rates) for rates in scenario.rates], abs=0.012
    )
    left, right = (succeeds[ROLLOUTS.index(name)] for name in (claim.left, claim.right))
    assert (left != right).mean() == pytest.approx(discordant_rate(many, claim), abs=0.012)
    if scenario.errors:
        assert breaks[ROLLOUTS.index("E0-none")].mean() == pytest.approx(scenario.errors, abs=0.005)
    else:
        assert not breaks.any()


def test_the_truth_at_the_margin() -> None:
    scenario = Scenario("x", "", tuple((rate,) * 10 for rate in (0.7, 0.65, 0.75, 0.7, 0.7)))
    equality, gain, *_ = simulated_plan(scenario).claims
    assert not is_true(equality, true_difference(scenario, equality))
    assert is_true(equality, -0.0499)
    assert is_true(gain, true_difference(scenario, gain))
    assert not is_true(gain, 0.0)


def test_promises_in_words() -> None:
    tally = run_scenario(smaller(CLUSTERS), 5, seed=1)
    words = {promised(check) for check in experiment_checks(tally)}
    assert words == {"at most 5.0 %", "at least 94.0 %", "at least 10.0 %"}
