"""Runs of core at smoke scale as a user starts them, with fake rollouts (``fake_rollouts``):
`wmbench run` in this process, or in one of its own where it is to be killed or to have company."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fake_rollouts
import pytest
from synthetic_run import write_run

from bench import cli
from bench.plan.document import Plan

ROOT = Path(__file__).parents[2]
EPISODES = 10
RANKS = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
MAIN = "import {0}, bench.cli; {0}.install(); raise SystemExit(bench.cli.main())"


def trained(plan: Plan, results: Path) -> Path:
    """A run whose every case is done but the rollouts."""
    run_dir = write_run(results / plan.run_name, plan, {})
    for case in plan.cases:
        record = run_dir / "cases" / f"{case.id}.json"
        if case.kind == "rollout":
            record.unlink()
        if case.kind == "train":
            done = {
                "steps": plan.recipe.training.steps,
                "artefacts": {"checkpoint": f"{results.name}/{plan.run_name}"},
            }
            record.write_text(json.dumps({**json.loads(record.read_text()), **done}))
    return run_dir


def arguments_for(run_dir: Path, *arguments: str) -> list[str]:
    """Of `wmbench`, for the plan whose run directory that is."""
    asked = ["run", "core", "--scale=smoke", "--machine=cpu", f"--episodes={EPISODES}"]
    return [*asked, f"--results={run_dir.parent}", *arguments]


def run_here(run_dir: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """`wmbench run` of the plan in this process: its exit code, and what it printed to standard
    output and to standard error."""
    return main_here(arguments_for(run_dir, *arguments), **environment)


def main_here(arguments: list[str], **environment: str) -> tuple[int, str, str]:
    """The same of any command line of `wmbench`."""
    return _here(lambda: cli.main(arguments), environment)


def _here(main: Callable[[], Any], environment: Mapping[str, str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name in RANKS:
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        fake_rollouts.install(patch)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main()
            except SystemExit as ended:
                code = ended.code
    return int(code), out.getvalue(), err.getvalue()


class _Collected:
    """A pytest plugin that remembers which items are left when collection ends."""

    items: tuple[str, ...] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = tuple(item.nodeid.rpartition("/")[2] for item in session.items)


def pytest_here(
    *arguments: str, suites: Path = ROOT / "suites", **environment: str
) -> tuple[int, str, str, tuple[str, ...]]:
    """`pytest suites/` at smoke scale in this process: its exit code, what it printed to standard
    output and to standard error, and the items that it chose, without their folder."""
    asked = ["--scale=smoke", "--machine=cpu", "-o", "addopts=-q --strict-markers"]
    quiet = ["-p", "no:cacheprovider", f"--rootdir={suites.parent}", f"-c{ROOT / 'pyproject.toml'}"]
    collected = _Collected()
    sys.modules.pop("test_cases", None)  # of another folder
    code, out, err = _here(
        lambda: pytest.main([str(suites), *asked, *quiet, *arguments], plugins=[collected]),
        environment,
    )
    return code, out, err, collected.items


def start(
    run_dir: Path, *arguments: str, fake: str = "fake_rollouts", **environment: str
) -> subprocess.Popen[str]:
    """The same as a process, in which the module `fake` takes the place of the simulator."""
    inherited = {key: value for key, value in os.environ.items() if key not in RANKS}
    path = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    return subprocess.Popen(
        [sys.executable, "-c", MAIN.format(fake), *arguments_for(run_dir, *arguments)],
        cwd=ROOT,
        env={**inherited, **path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err
