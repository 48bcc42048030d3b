"""References: which runs may speak for a plan, and what they say of its discordance and its
cost."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from synthetic_run import SECONDS, core_plan, plan_of, write_run

from bench import cli
from bench.forecast.costs import Cost, estimate
from bench.forecast.past_runs import discordances, find_past_runs
from bench.judge.power import ASSUMED
from bench.judge.stats.power import planning_rate
from bench.plan.document import Plan
from bench.wording import plans

PLAN = core_plan("mini")
COMMITTED = Path(__file__).parents[3] / "results"


def some_outcomes(plan: Plan) -> dict[str, list[bool]]:
    """E2-pred and E0 disagree on five episodes, everything else agrees with E0."""
    baseline = [index % 4 > 0 for index in range(len(plan.episodes))]
    pred = [not won if index < 5 else won for index, won in enumerate(baseline)]
    return {
        "E0-none": baseline,
        "E1-zero": baseline,
        "E2-pred": pred,
        "E2-zero": baseline,
        "E2-random": baseline,
    }


def made_up(folder: Path, plan: Plan = PLAN) -> Path:
    """A finished run below ``folder/results``, as its executor would have left it."""
    run_dir = write_run(
        folder / "results" / plan.run_name, plan, some_outcomes(plan), metrics=False
    )
    for case in plan.cases:
        path = run_dir / "cases" / f"{case.id}.json"
        record = json.loads(path.read_text())
        record |= {"steps": plan.recipe.training.steps} if case.kind == "train" else {}
        record |= (
            {"episodes": len(plan.episodes), "played": len(plan.episodes)}
            if case.kind == "rollout"
            else {}
        )
        path.write_text(json.dumps(record))
    return folder / "results"


def costs_of(plan: Plan, folder: Path) -> dict[str, Cost]:
    return {cost.case.id: cost for cost in estimate(plan, find_past_runs(plan, [folder])[0])}


def test_the_committed_run_speaks_for_its_plan() -> None:
    (reference, *_) = [
        each
        for each in find_past_runs(PLAN, [COMMITTED])[0]
        if each.run_dir.parent.name == "reference"
    ]
    costs = {cost.case.id: cost for cost in estimate(PLAN, [reference])}
    played, base = (
        json.loads((reference.run_dir / "cases" / f"{case}.json").read_text())
        for case in ("E2-pred-s0", "base")
    )
    assert costs["E2-pred-s0"].seconds == pytest.approx(played["seconds"])
    assert costs["base"].cpu_seconds == pytest.approx(base["cpu_seconds"])
    assert 100 < base["cpu_seconds"] < 1000
    assert costs["E2-train-s0"].size is None
    assert discordances(PLAN, [reference])["pred > zero"].measured == 24


def test_who_may_speak_for_a_plan(tmp_path: Path) -> None:
    folder = made_up(tmp_path)
    for plan in (
        PLAN,
        core_plan("mini", episodes=240, seeds=(0, 1)),
        core_plan("mini", steps=60),
        plan_of("fusion", "mini"),
    ):
        assert len(find_past_runs(plan, [folder])[0]) == 1
    for plan in (core_plan("smoke"), core_plan("mini", batch_size=16)):
        assert find_past_runs(plan, [folder])[0] == []
    elsewhere = dataclasses.replace(PLAN, machine=dataclasses.replace(PLAN.machine, name="other"))
    assert find_past_runs(elsewhere, [folder])[0] == []
    copied = shutil.copytree(folder, tmp_path / "copied")
    assert [each.run_dir.parent for each in find_past_runs(PLAN, [folder, copied])[0]] == [copied]
    (folder / PLAN.run_name / "plan.json").write_text("{}")
    assert find_past_runs(PLAN, [folder, tmp_path / "nowhere"])[0] == []


def test_costs_go_with_steps_and_episodes(tmp_path: Path) -> None:
    folder = made_up(tmp_path)
    once, tenfold = (
        costs_of(PLAN, folder),
        costs_of(core_plan("mini", episodes=240, steps=1200, seeds=(0, 1)), folder),
    )
    for case, factor in (
        ("E2-pred-s1", 10),
        ("E0-train-s1", 2),
        ("base", 1),
        ("E2-replay-s1", 1),
        ("wiring-toy", 1),
    ):
        alone = once[case.replace("s1", "s0")]
        assert tenfold[case].seconds == pytest.approx(factor * (alone.seconds or 0))
        assert tenfold[case].cpu_seconds == pytest.approx(factor * (alone.cpu_seconds or 0))
    assert sum(cost.seconds or 0 for cost in once.values()) == pytest.approx(
        sum(SECONDS[cost.case.kind] for cost in once.values()), rel=0.1
    )


def test_what_no_reference_has_done_is_not_guessed(tmp_path: Path) -> None:
    costs = costs_of(plan_of("memory", "mini"), made_up(tmp_path))
    assert costs["H-history-s0"] == Cost(costs["H-history-s0"].case, None, None, None)
    assert costs["E2-pred-s0"].seconds is not None
    told = dict(plans.cost_lines(plan_of("memory", "mini"), list(costs.values()), ["a run"]))
    assert "without train and rollout: no reference" in told["wall time"]
    assert "no reference" in dict(plans.cost_lines(PLAN, estimate(PLAN, []), []))["cost"]


def test_an_interrupted_case_says_nothing_of_its_time(tmp_path: Path) -> None:
    """A training that was continued has the seconds of its last session; a rollout says how many
    episodes that played."""
    folder = made_up(tmp_path)
    cases = folder / PLAN.run_name / "cases"
    before = costs_of(PLAN, folder)
    training = json.loads((cases / "E0-train-s0.json").read_text())
    (cases / "E0-train-s0.json").write_text(
        json.dumps(training | {"last": {"step": 1, "seconds": training["seconds"] + 1}})
    )
    rollout = json.loads((cases / "E0-none-s0.json").read_text())
    (cases / "E0-none-s0.json").write_text(json.dumps(rollout | {"played": 12}))
    after = costs_of(PLAN, folder)
    assert after["E0-train-s0"].seconds is None
    assert after["E0-none-s0"].seconds == pytest.approx(2 * (before["E0-none-s0"].seconds or 0))


def test_disk_is_what_lies_there(tmp_path: Path) -> None:
    folder = made_up(tmp_path)
    for arm, size in (("E0", 1000), ("E2", 3000)):
        saved = folder / PLAN.run_name / "checkpoints" / f"{arm}-train-s0" / "000600"
        saved.mkdir(parents=True)
        (saved / "model").write_bytes(b"x" * size)
    costs = costs_of(core_plan("mini", seeds=(0, 1), episodes=48), folder)
    assert (costs["E0-train-s1"].size, costs["E2-train-s1"].size, costs["E1-train-s1"].size) == (
        1000,
        3000,
        None,
    )
    journal = folder / PLAN.run_name / "episodes" / "E2-pred-s0.jsonl"
    assert costs["E2-pred-s1"].size == 2 * journal.stat().st_size


def test_discordance_is_measured_where_the_same_arms_were_trained(tmp_path: Path) -> None:
    folder = made_up(tmp_path)
    plan = core_plan("mini", episodes=240)
    found = discordances(plan, find_past_runs(plan, [folder])[0])
    assert (found["E2 > E0"].found, found["E2 > E0"].measured) == (5, 24)
    assert found["E2 > E0"].rate == pytest.approx(planning_rate(5, 24))
    assert found["E1 = E0"].found == 0
    longer = core_plan("mini", steps=60)
    assert set(discordances(longer, find_past_runs(longer, [folder])[0]).values()) == {ASSUMED}
    shutil.rmtree(folder / PLAN.run_name / "episodes")
    assert set(discordances(plan, find_past_runs(plan, [folder])[0]).values()) == {ASSUMED}


def test_gpu_hours_count_every_process_of_a_training(tmp_path: Path) -> None:
    training, rollout = PLAN.case("E0-train-s0"), PLAN.case("E0-none-s0")
    assert (
        Cost(training, 10.0, 1.0, None).gpu_seconds(PLAN) == 10.0 * PLAN.machine.training_processes
    )
    assert Cost(rollout, 10.0, 1.0, None).gpu_seconds(PLAN) == 10.0
    on_gpu = dataclasses.replace(
        PLAN, machine=dataclasses.replace(PLAN.machine, accelerator="cuda")
    )
    told = dict(
        plans.cost_lines(
            on_gpu, [Cost(training, 1800.0, 1.0, None), Cost(rollout, 3600.0, 1.0, 10)], ["a run"]
        )
    )
    assert told["GPU-hours"] == "about 2"
    assert told["disk"] == "about 1e-05 MB, without train: no reference; downloads are not counted"


def plan_lines(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What `wmbench plan` prints beside the runs in `results` alone."""
    monkeypatch.setattr("bench.commands.plan.RESULTS", results)
    assert cli.main(["plan", "core", "--scale=mini", "--machine=cpu"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("cases/base.json", '{"case": "ba', "cases/base.json: "),
        ("cases/base.json", "[]", "cases/base.json: must be a JSON object"),
        ("cases/base.json", '{"case": "base"}', "cases/base.json: "),
        ("provenance.json", "{", "provenance.json: "),
        ("episodes/E0-none-s0.jsonl", "{}\n", "episodes/E0-none-s0.jsonl: line 1: "),
        ("plan.json", "{}", "plan.json: missing key 'hash'"),
    ],
)
def test_a_damaged_run_stops_no_plan_and_is_named(
    file: str,
    text: str,
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = made_up(tmp_path)
    whole = plan_lines(results, capsys, monkeypatch)
    assert not [line for line in whole if line.startswith("not used")]
    assert [line for line in whole if line.startswith("measured by")]
    (results / PLAN.run_name / file).write_text(text)
    damaged = plan_lines(results, capsys, monkeypatch)
    assert damaged[-1].startswith(f"not used: {PLAN.run_name}: {why}")
    assert len([line for line in damaged if "not used" in line]) == 1
    assert not [line for line in damaged if line.startswith("measured by")]
