"""Pages of docs/ that a newcomer follows: every file on them is written, every command is run, in a copy of the project.

Non-obvious: at scale smoke, because `make` takes SCALE from MAKEFLAGS where a command does not say it. So the run that the
tutorial names is another one here, and its name is replaced.
"""

import os
import sys
from pathlib import Path

import pytest

from bench.overrides import Overrides
from bench.plan import resolve_plan
from tests.pages import ROOT, copy_project, run_page, steps_of

PAGES = ("tutorial", "extending", "mi300x")
STAND_IN = """#!/bin/sh
echo "podman $*"
"""
"""For podman: it is told to build and to run, and does neither."""

MINI, SMOKE = (resolve_plan("core", scale, "cpu", Overrides()).run_name for scale in ("mini", "smoke"))


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_commands_and_writes_into_places_of_its_own(name):
    steps = list(steps_of(page(name)))
    assert any(step.path is None for step in steps)
    assert [step.path for step in steps if step.path is not None and (ROOT / step.path).exists()] == []


def test_the_tutorial_names_the_run_that_its_command_makes():
    assert f"results/{MINI}" in page("tutorial")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("pages"), Path(sys.prefix))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_works(name, project, tmp_path):
    fakes = tmp_path / "bin"
    fakes.mkdir()
    (fakes / "podman").write_text(STAND_IN)
    (fakes / "podman").chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
        "PATH": f"{fakes}:{os.environ['PATH']}",
        # The environment's own wmbench would import the checkout that it was installed from.
        "PYTHONPATH": f"{project}:{project / 'wmvla' / 'plugin'}",
        "MAKEFLAGS": "SCALE=smoke",
        "PYTEST_ADDOPTS": "--scale=smoke",
    }
    instead = {MINI: SMOKE, "mi300x-8": "cpu", "gpu-node:": ""}
    printed = "\n".join(run_page(page(name), project, environment, instead))
    told = {"tutorial": "INCONCLUSIVE", "extending": "machine        workstation", "mi300x": "podman build"}
    assert told[name] in printed
