"""What ``pytest suites/`` collects: the cases of the chosen suites' plans, plain benchmarks where
they are asked for; and how an item fails."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from fake_runs import EPISODES, ROOT, pytest_here, trained
from synthetic_run import PROVENANCE, core_plan, plan_of

from bench import cli
from bench.plan.cases import Case
from bench.run import executor
from bench.run.stages.context import Context


def collected(*arguments: str, suites: Path = ROOT / "suites") -> list[str]:
    """Ids of the items, without their folder."""
    code, out, err, items = pytest_here("--collect-only", *arguments, suites=suites)
    assert code == 0, out + err
    return list(items)


def cases_collected(*arguments: str) -> list[str]:
    """What stands in the brackets of their names."""
    names = collected(*arguments)
    assert all(name.startswith("test_cases.py::test_case[") for name in names), names
    return [name.partition("[")[2].removesuffix("]") for name in names]


def cases_of(suite: str, *arms: str) -> list[str]:
    """Ids of a plan's cases; those of some arms alone."""
    return [case.id for case in plan_of(suite, "smoke").cases if not arms or case.arm in arms]


def test_a_suite_is_the_cases_of_its_plan() -> None:
    assert cases_collected("--suite", "controls-negative") == cases_of("controls-negative")


def test_a_shard_has_the_rollouts_only() -> None:
    wanted = [case.id for case in plan_of("core", "smoke").rollout_cases()]
    assert cases_collected("--shard", "2/3") == wanted


def test_cases_can_be_named() -> None:
    """`-k E2-train-s0` would match more where another name has it in itself."""
    named = ("--case", "E2-train-s0", "--case", "base")
    assert cases_collected("--suite", "core", *named) == ["base", "E2-train-s0"]
    assert cases_collected("--case", "E2-pred-s0", "--shard", "2/3") == ["E2-pred-s0"]


@pytest.mark.parametrize(
    ("expression", "arms"),
    [
        ("E2", ["E2"]),
        ("e2", ["E2"]),
        ("E2 or E0", ["E2", "E0"]),
        ("E2-detached", ["E2-detached"]),
        ("(E2 or E2-detached) and not E0", ["E2", "E2-detached"]),
        ("H", ["H"]),
    ],
)
def test_the_name_of_an_arm_chooses_that_arm_alone(expression: str, arms: list[str]) -> None:
    """Also where another arm's name holds it, and the letter H other names."""
    assert cases_collected("--suite", "memory", "-k", expression) == cases_of("memory", *arms)


def test_what_is_no_arms_name_means_what_it_means_to_pytest() -> None:
    everything = cases_of("memory")
    chosen = {k: cases_collected("--suite", "memory", "-k", k) for k in ("not E2", "E2-pred")}
    assert chosen["not E2"] == [x for x in everything if x not in cases_of("memory", "E2")]
    assert chosen["E2-pred"] == ["E2-pred-s0"]
    assert cases_collected("--suite", "memory", "-k", "train and E2") == ["E2-train-s0"]
    assert cases_collected("--suite", "fusion", "-k", "F3a-prefix") == cases_of(
        "fusion", "F3a-prefix"
    )


def test_benchmarks_without_a_plan_are_collected_by_their_name_and_by_all() -> None:
    throughput = collected("--suite", "throughput")
    assert throughput
    assert not [name for name in throughput if name.startswith("test_cases")]
    everything = collected("--suite", "all")
    suites = ("core", "fusion", "memory", "controls", "controls-negative", "controls-prediction")
    cases = {
        f"test_cases.py::test_case[{case}-{suite}]" for suite in suites for case in cases_of(suite)
    }
    assert {*throughput, *cases} == set(everything)
    assert len(everything) == len(set(everything))
    assert collected("--suite", "all", "-k", "E2-detached and memory") == [
        f"test_cases.py::test_case[{case}-memory]" for case in cases_of("memory", "E2-detached")
    ]


def test_a_suite_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with suite.toml alone plans, is collected, and runs."""
    suites = tmp_path / "suites"
    for name in ("conftest.py", "test_cases.py", "core/suite.toml", "memory/suite.toml"):
        (suites / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "suites" / name, suites / name)
    (suites / "past").mkdir()
    text = (suites / "memory" / "suite.toml").read_text()
    (suites / "past" / "suite.toml").write_text(text.replace('"memory"', '"past"', 1))
    (suites / "empty").mkdir()
    monkeypatch.setattr("bench.plan.make.SUITES", suites)

    assert cli.main(["plan", "past", "--scale=smoke", "--machine=cpu"]) == 0
    assert "past-smoke-cpu-" in capsys.readouterr().out
    names = collected("--suite", "past", suites=suites)
    assert names == [f"test_cases.py::test_case[{case}]" for case in cases_of("memory")]

    def stage(context: Context, case: Case) -> dict[str, object]:
        return {"artefacts": {}}

    monkeypatch.setattr("bench.run.session.collect", lambda command: PROVENANCE)
    monkeypatch.setattr(executor, "STAGES", dict.fromkeys(executor.STAGES, stage))
    run = ["run", "past", "--scale=smoke", "--machine=cpu", f"--results={tmp_path / 'results'}"]
    assert cli.main([*run, "--case=demonstrations"]) == 0
    assert "  demonstrations  done in " in capsys.readouterr().out

    wanted = f"error: {suites / 'empty'}: suite.toml is missing; write it"
    assert cli.main(["run", "empty"]) == 2
    assert capsys.readouterr().err.startswith(wanted)
    code, _, err, _ = pytest_here("--suite", "empty", suites=suites)
    assert code == 2
    assert err.splitlines()[-1].startswith(wanted)


def test_an_item_fails_where_a_record_is_not_the_plans(tmp_path: Path) -> None:
    """The others pass; JUnit and pytest-benchmark say how each went."""
    run_dir = trained(core_plan("smoke", episodes=EPISODES), tmp_path / "results")
    record = run_dir / "cases" / "E2-train-s0.json"
    record.write_text(record.read_text().replace('"steps": 2', '"steps": 1'))
    junit, timed = tmp_path / "junit.xml", tmp_path / "benchmark.json"
    files = (f"--junitxml={junit}", f"--benchmark-json={timed}")
    asked = (f"--episodes={EPISODES}", f"--results={run_dir.parent}", "-k", "E2 and s0")
    code, out, err, items = pytest_here(*asked, *files)
    assert code == 1, out + err
    assert "1 failed, 4 passed" in out
    assert f"{record}: 'steps' is 1, but the plan says 2; remove the file" in out
    assert len(items) == 5
    assert "  E2-pred-s0         10/10 " in out, "progress is shown"
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    failed = {case.get("name"): case.find("failure") is not None for case in cases}
    assert failed["test_case[E2-train-s0]"]
    assert sum(failed.values()) == 1
    figures = json.loads(timed.read_text())["benchmarks"]
    assert {each["extra_info"]["case"] for each in figures} == {
        case for case in cases_of("core", "E2") if case != "E2-train-s0"
    }
    for case in ("E2-pred-s0", "E2-zero-s0"):
        assert json.loads((run_dir / "cases" / f"{case}.json").read_text())["episodes"] == EPISODES
    assert not (run_dir / "cases" / "E0-none-s0.json").exists(), "nothing else is done"


def test_what_only_the_user_can_repair_ends_pytest_in_one_last_line(tmp_path: Path) -> None:
    run_dir = trained(core_plan("smoke", episodes=EPISODES), tmp_path / "results")
    (run_dir / "cases" / "E2-train-s0.json").unlink()
    asked = (f"--episodes={EPISODES}", f"--results={run_dir.parent}", "--case=E2-pred-s0")
    code, _, err, _ = pytest_here(*asked)
    assert code == 2
    assert err.splitlines()[-1].startswith(
        "error: E2-pred-s0 needs E2-train-s0, which is not done, and --case does that case alone"
    )


def test_an_interrupted_pytest_says_so_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest-benchmark ended in a traceback: it had a benchmark without a time."""

    def interrupted(*_: object) -> dict[str, object]:
        raise KeyboardInterrupt("SIGTERM")

    run_dir = trained(core_plan("smoke", episodes=EPISODES), tmp_path / "results")
    monkeypatch.setattr(executor.rollout, "run", interrupted)
    asked = (f"--episodes={EPISODES}", f"--results={run_dir.parent}", "-k", "E2-train or E2-pred")
    written = tmp_path / "benchmark.json"
    code, out, err, _ = pytest_here(*asked, f"--benchmark-json={written}")
    assert code == 2
    assert "ValueError" not in out + err
    assert "SIGTERM" in out
    assert [
        each["extra_info"]["case"] for each in json.loads(written.read_text())["benchmarks"]
    ] == ["E2-train-s0"]
