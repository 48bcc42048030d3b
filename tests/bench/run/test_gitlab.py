"""The child pipeline and the workflows, read as YAML: nothing dangles, and every job finds what the
jobs before it left."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from synthetic_run import plan_of

from bench.cli import main
from bench.plan.document import Plan
from bench.run.gitlab import gitlab_pipeline
from bench.verify.attestation import ATTESTED
from bench.verify.manifest import ATTESTATION, FILES, MANIFEST, SUFFIXES

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PIPELINE_KEYS = {"stages", "variables", "default"}
RESERVED = {
    "image",
    "services",
    "before_script",
    "after_script",
    "cache",
    "include",
    "workflow",
    "pages",
    "nil",
    "true",
    "false",
}
"""What GitLab lets no job be called."""
WRITING = {
    "comment": {"pull-requests": "write"},
    "attest": {"attestations": "write", "id-token": "write"},
}
"""The jobs that may write, and what. None of them runs code of the project."""


def pipeline_of(plan: Plan) -> dict[str, Any]:
    return gitlab_pipeline(plan, ["--scale=mini", "--machine=cpu"], Path("results") / plan.run_name)


def jobs_of(pipeline: dict[str, Any]) -> dict[str, Any]:
    return {name: job for name, job in pipeline.items() if name not in PIPELINE_KEYS}


@pytest.fixture(
    params=[
        ("core", {}),
        ("memory", {"seeds": (0, 1, 2)}),
        ("fusion", {}),
        ("core", {"sequential": "pocock"}),
    ]
)
def plan(request: pytest.FixtureRequest) -> Plan:
    suite, overrides = request.param
    return plan_of(suite, **overrides)


def test_no_need_dangles_and_each_is_an_earlier_job(plan: Plan) -> None:
    seen: set[str] = set()
    pipeline = pipeline_of(plan)
    for name, job in jobs_of(pipeline).items():
        assert set(job.get("needs", ())) <= seen
        assert job["stage"] in pipeline["stages"]
        assert len(job.get("needs", ())) <= 50, "GitLab allows no more"
        seen.add(name)
    assert not seen & RESERVED


def test_every_case_is_carried_out_once(plan: Plan) -> None:
    told = [
        word
        for job in jobs_of(pipeline_of(plan)).values()
        for word in job["script"][0].split()
        if "--case=" in word
    ]
    assert sorted(told) == sorted(f"--case={case.id}" for case in plan.cases)


def test_a_job_waits_for_all_that_its_case_needs_near_and_far(plan: Plan) -> None:
    jobs = jobs_of(pipeline_of(plan))
    job_of = {
        word.removeprefix("--case="): name
        for name, job in jobs.items()
        for word in job["script"][0].split()
    }
    for case in plan.cases:
        needs = set(jobs[job_of[case.id]]["needs"])
        assert {job_of[need] for need in case.needs} <= needs
        for need in case.needs:
            assert set(jobs[job_of[need]]["needs"]) <= needs


def test_the_rollouts_of_a_sequential_plan_are_one_job() -> None:
    plan = plan_of("core", sequential="pocock")
    jobs = jobs_of(pipeline_of(plan))
    assert jobs["rollouts"]["script"][0].count("--case=") == len(plan.rollout_cases())
    assert {case.id for case in plan.rollout_cases()}.isdisjoint(jobs)


def test_artifacts_are_the_cases_own_files() -> None:
    """A path of one case must not take another's: two jobs would then write one file."""
    plan = plan_of("core")
    jobs = jobs_of(pipeline_of(plan))
    for case in plan.cases:
        paths = jobs[case.id]["artifacts"]["paths"]
        ours = [
            Path(path).name.removesuffix(".*")
            for path in paths
            if f"{plan.run_name}/*/" in path or "checkpoints" in path
        ]
        assert ours == [case.id, case.id]
        assert ("cache/" in paths) == (case.id in {"demonstrations", "base", "latents", "held-out"})


def test_a_runner_with_the_project_elsewhere_is_refused_in_one_line(tmp_path: Path) -> None:
    """Checkpoints name the tiny models by absolute paths: found by carrying the jobs out in
    different folders."""
    plan = plan_of("core")
    pipeline = pipeline_of(plan)
    same_place = pipeline["default"]["before_script"][0]
    file = f"results/{plan.run_name}/project_folder.txt"
    assert all(
        file in job["artifacts"]["paths"]
        for name, job in jobs_of(pipeline).items()
        if name != "report"
    )
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    for _ in range(2):
        subprocess.run(["sh", "-c", same_place], cwd=first, check=True, timeout=30)
    shutil.copytree(first, other)
    done = subprocess.run(
        ["sh", "-c", same_place], cwd=other, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert (
        line
        == f"error: the project is in {other} here, and was in {first} before; take runners that"
        " have it in one place"
    )


def test_the_report_is_written_after_failures_too_and_takes_everything() -> None:
    report = pipeline_of(plan_of("core"))["report"]
    assert report["when"] == "always"
    assert "needs" not in report, "with needs it would take the artifacts of those jobs only"


def test_the_command_prints_yaml_that_pins_scale_and_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(["plan", "core", "--machine=cpu", "--episodes=2", "--arms=E0,E2", "--ci=gitlab"]) == 0
    )
    text = capsys.readouterr().out
    pipeline = yaml.safe_load(text)
    script = pipeline["E2-pred-s0"]["script"]
    assert script == [
        ".venv/bin/pytest suites/ --suite=core --scale=mini --machine=cpu --arms=E0,E2"
        " --episodes=2 --junitxml=junit-E2-pred-s0.xml --case=E2-pred-s0"
    ]
    assert pipeline["E2-pred-s0"]["artifacts"]["reports"] == {"junit": "junit-E2-pred-s0.xml"}
    assert pipeline["default"]["tags"] == ["cpu"]
    assert "E1-train-s0" not in pipeline
    run_name = re.match(r"# (core-mini-cpu-[0-9a-f]{8}), made by: wmbench plan core ", text)[1]  # type: ignore[index]
    assert f"results/{run_name}/plan.json" in pipeline["base"]["artifacts"]["paths"]


def test_results_outside_the_project_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["plan", "core", "--machine=cpu", f"--results={tmp_path}", "--ci=gitlab"]) == 2
    assert "give a folder inside it" in capsys.readouterr().err


def test_gitlabs_own_file_hands_on_what_it_makes() -> None:
    content = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    (included,) = content["bench"]["trigger"]["include"]
    assert content["plan"]["artifacts"]["paths"] == [included["artifact"]]
    assert content["plan"]["script"][-1].endswith(f">{included['artifact']}")
    assert content["bench"]["needs"] == [included["job"]]
    assert {
        job["stage"] for name, job in content.items() if name not in ("stages", "variables")
    } == set(content["stages"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint(path: Path) -> None:
    actionlint = shutil.which(
        "actionlint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert actionlint, "actionlint is in uv.lock: make setup"
    done = subprocess.run(
        [actionlint, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pin_their_actions_and_ask_for_little(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    uses = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert uses
    for action, remark in uses:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", remark)
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions", workflow["permissions"])
        assert "write" not in rights.values() or rights == WRITING.get(name)
        assert job["timeout-minutes"] <= 240
        needs = job.get("needs", [])
        assert {needs} if isinstance(needs, str) else set(needs) <= set(workflow["jobs"])


def test_no_code_of_a_fork_runs_on_our_computers() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/gpu.yml").read_text())
    ours = [job for job in workflow["jobs"].values() if "self-hosted" in job["runs-on"]]
    assert ours
    for job in ours:
        assert "head.repo.full_name == github.repository" in job["if"]
        assert "write" not in job["permissions"].values()


def test_the_run_is_attested_where_none_of_its_code_runs_and_beside_it() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/gpu.yml").read_text())
    bench, attest = workflow["jobs"]["bench"], workflow["jobs"]["attest"]
    assert attest["needs"] == "bench"
    assert "github.event_name != 'pull_request'" in attest["if"]
    assert attest["strategy"]["matrix"] == bench["strategy"]["matrix"]
    used = {step["uses"].partition("@")[0]: step for step in attest["steps"] if "uses" in step}
    assert "actions/checkout" not in used
    attested = used["actions/attest-build-provenance"]["with"]["subject-path"].split()
    assert attested == [f"found/core-*/{name}" for name in ATTESTED]
    uploaded = bench["steps"][-1]["with"]
    assert used["actions/download-artifact"]["with"]["name"] == uploaded["name"]
    stored = used["actions/upload-artifact"]["with"]["path"]
    assert stored == f"found/core-*/{ATTESTATION}"
    assert any(f"{ATTESTATION}" in step.get("run", "") for step in attest["steps"])


def test_all_that_the_manifest_lists_is_kept_or_may_stay_behind() -> None:
    """Else `wmbench verify` names what is missing from what was downloaded."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/gpu.yml").read_text())
    kept = workflow["jobs"]["bench"]["steps"][-1]["with"]["path"].split()
    run = {path.removeprefix("results/core-*/") for path in kept}
    assert MANIFEST in run
    assert {*FILES} - {"report.html", "report.json", "report.md"} <= run
    assert "report.*" in run
    assert {f"{folder}/" for folder in SUFFIXES} - {"imported/"} <= run


def test_no_word_of_a_pull_request_reaches_a_shell() -> None:
    """Expressions are put into a script as text; a title or a branch could then be a command."""
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            assert not [step["run"] for step in job["steps"] if "${{" in step.get("run", "")]


def test_workflows_call_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join(path.read_text() for path in WORKFLOWS)
    called = set(re.findall(r"run: make (\S+)", text))
    assert {"image", "container-bench", "container-throughput"} <= called <= targets
