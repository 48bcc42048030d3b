"""One session carries cases out, for `wmbench run` and for pytest: what a record must say, a suite
of one file, what is printed where, and what stops it."""

import json
import re
import signal
from pathlib import Path

import pytest
from fake_runs import EPISODES, ROOT, finished, run_here, start, trained
from synthetic_run import core_plan

from bench.formats.checksums import sha256_of
from bench.host import hardware
from bench.plan.document import Plan
from bench.run.session import cases_here, contradiction
from wmvla.rollout.shard import Shard

E2 = "E2-pred-s0"


@pytest.fixture
def plan() -> Plan:
    return core_plan("smoke", episodes=EPISODES)


@pytest.fixture
def run_dir(plan: Plan, tmp_path: Path) -> Path:
    return trained(plan, tmp_path / "results")


@pytest.mark.parametrize(
    ("case", "figures", "wrong"),
    [
        ("base", {"kind": "base"}, None),
        ("base", {"kind": "train"}, "'kind' is train, but the plan says base"),
        ("base", {"kind": "base", "case": "bas"}, "'case' is bas, but the plan says base"),
        ("E2-train-s0", {"kind": "train", "steps": 2}, None),
        ("E2-train-s0", {"kind": "train", "steps": 1}, "'steps' is 1, but the plan says 2"),
        ("E2-train-s0", {"kind": "train"}, "'steps' is None, but the plan says 2"),
        (E2, {"kind": "rollout", "episodes": 10}, None),
        (E2, {"kind": "rollout", "episodes": 9}, "'episodes' is 9, but the plan says 10"),
        ("E2-replay-s0", {"kind": "replay", "episodes": 1}, None),
        ("E2-replay-s0", {"kind": "replay", "episodes": 2}, "'episodes' is 2, but the plan says 1"),
    ],
)
def test_what_a_record_says_otherwise_than_its_plan(
    plan: Plan, case: str, figures: dict[str, object], wrong: str | None
) -> None:
    assert plan.recipe.training.steps == 2
    assert contradiction(plan, plan.case(case), {"case": case, **figures}) == wrong


def test_a_part_of_a_rollout_is_held_against_that_part(plan: Plan) -> None:
    record = {"case": E2, "kind": "rollout", "episodes": 5}
    assert contradiction(plan, plan.case(E2), record, Shard(1, 2)) is None
    assert contradiction(plan, plan.case(E2), record) == "'episodes' is 5, but the plan says 10"
    looks = core_plan("smoke", episodes=EPISODES, sequential="pocock")
    until = [len(looks.rows_until(look)) for look in range(1, looks.last_look + 1)]
    found = {n: contradiction(looks, looks.case(E2), {**record, "episodes": n}) for n in until}
    assert set(found.values()) == {None}


def test_the_cases_that_are_carried_out_here(plan: Plan) -> None:
    assert cases_here(plan) == tuple(case.id for case in plan.cases)
    assert cases_here(plan, Shard(1, 2)) == tuple(case.id for case in plan.rollout_cases())
    assert cases_here(plan, Shard(1, 2), [E2]) == (E2,)


def test_a_record_that_is_not_the_plans_fails_its_case_and_no_other(
    plan: Plan, run_dir: Path
) -> None:
    record = run_dir / "cases" / "E2-train-s0.json"
    record.write_text(record.read_text().replace('"steps": 2', '"steps": 1'))
    code, out, err = run_here(run_dir)
    assert code == 1, out + err
    (failed,) = [line for line in out.splitlines() if " failed: " in line]
    assert failed == (
        f"  E2-train-s0     failed: {record}: 'steps' is 1, but the plan says 2; remove the file "
        "and give the same command again to carry the case out again"
    )
    for case in plan.rollout_cases():
        assert f"  {case.id:<15} done in " in out
    assert f"  {len(plan.cases) - 6} of {len(plan.cases)} cases were done before" in out
    assert out.splitlines()[-1] == f"report: {run_dir / 'report.html'}"


def test_the_command_is_recorded_as_it_was_given(run_dir: Path) -> None:
    (run_dir / "provenance.json").unlink()
    assert run_here(run_dir, "--case=E0-none-s0")[0] == 0
    command = json.loads((run_dir / "provenance.json").read_text())["command"]
    assert command.startswith("wmbench run core --scale=smoke --machine=cpu --episodes=10 ")
    assert command.endswith(" --case=E0-none-s0")


def test_ctrl_c_ends_in_one_line(run_dir: Path) -> None:
    process = start(run_dir, FAKE_STEP_SECONDS="0.05")
    assert process.stdout is not None
    for line in process.stdout:
        if re.match(r"  E0-none-s0 .* starting", line):
            break
    process.send_signal(signal.SIGINT)
    code, _, err = finished(process)
    assert (code, err) == (130, "interrupted\n")
    assert not (run_dir / "failures").exists()


def test_a_run_needs_no_pytest(run_dir: Path) -> None:
    """Nor do cases that are done need torch."""
    script = run_dir.parent / "no_pytest.py"
    script.write_text(
        "import atexit, sys, fake_rollouts\ninstall = fake_rollouts.install\n"
        "def look():\n"
        "    print('imported', sorted({'torch', 'lerobot', '_pytest.python'} & set(sys.modules)))\n"
        "atexit.register(look)\n"
    )
    path = f"{ROOT}:{ROOT / 'tests' / 'bench'}:{run_dir.parent}"
    named = [f"--case={case}" for case in ("demonstrations", "base", "latents", "E2-train-s0")]
    code, out, err = finished(start(run_dir, *named, fake="no_pytest", PYTHONPATH=path))
    assert code == 0, out + err
    assert "  4 of 4 cases were done before" in out
    assert out.splitlines()[-1] == "imported []"


def test_a_run_goes_on_with_the_files_of_libero_that_it_began_with_alone(
    plan: Plan, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = {}
    (task,) = plan.recipe.environment.tasks
    for name, path in hardware.task_files(plan.recipe.environment.suite, [task]).items():
        copies[name] = tmp_path / Path(name).name
        copies[name].write_bytes(path.read_bytes())
    monkeypatch.setattr(hardware, "task_files", lambda *_: copies)
    provenance, episodes = run_dir / "provenance.json", run_dir / "episodes"
    provenance.unlink()
    code, out, err = run_here(run_dir, "--case=E0-none-s0")
    assert code == 0, out + err
    kept = json.loads(provenance.read_text())["task_files"]
    assert sorted(kept) == sorted(copies)
    assert all(kept[name] == sha256_of(path) for name, path in copies.items())

    before = sorted(path.name for path in episodes.iterdir())
    for name, path in copies.items():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        code, out, err = run_here(run_dir, f"--case={E2}")
        assert code == 2, out + err
        assert err.startswith(f"error: libero/libero/{name}: its checksum is ")
        assert err.count("\n") == 1
        path.unlink()
        code, out, err = run_here(run_dir, f"--case={E2}")
        assert (code, err.count("\n")) == (2, 1), out + err
        assert f"{path}: cannot be read: No such file" in err
        path.write_bytes(content)
    assert sorted(path.name for path in episodes.iterdir()) == before
    code, out, err = run_here(run_dir, f"--case={E2}")
    assert code == 0, out + err


def test_a_run_from_before_there_were_sums_goes_on(plan: Plan, run_dir: Path) -> None:
    assert "task_files" not in json.loads((run_dir / "provenance.json").read_text())
    code, out, err = run_here(run_dir, f"--case={E2}")
    assert code == 0, out + err
