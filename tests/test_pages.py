"""Pages of docs/ that show work to be done: every file on them is written, every command is run, in
a copy of the project.

Non-obvious: the pages that play are done at scale smoke, because `make` takes SCALE from MAKEFLAGS
where a command does not say it. So the run that the tutorial makes is another one here, and its
name is replaced. The pages that read a run are given the committed one, under the name that the
same command would give it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.make import resolve_plan
from bench.plan.overrides import Overrides
from tests.pages import ROOT, copy_project, run_commands, run_page, steps_of

PLAYING = {
    "tutorial": "INCONCLUSIVE",
    "extending": "machine        workstation",
    "mi300x": "podman build",
}
READING = {
    "report": "INCONCLUSIVE",
    "verify": "nothing is wrong",
    "compare": "No regression is shown",
    "import": "UNPAIRED",
}
"""By page, what is printed on the way."""
PAGES = (*PLAYING, *READING)
STAND_INS = {
    # Told to build and to run, and does neither.
    "podman": '#!/bin/sh\necho "podman $*"\n',
    # Told to build SIF SOURCE, and makes SIF, empty.
    "apptainer": '#!/bin/sh\nfor last; do sif=$source source=$last; done\n: >"$sif"\n',
    # Every host is this one, and the home there is the copy's folder `far`.
    "ssh": '#!/bin/sh\nshift\ncd "$FAR_HOME"\nexec "$@"\n',
}
MINI, SMOKE = (
    resolve_plan("core", scale, "cpu", Overrides()).run_name for scale in ("mini", "smoke")
)
COMMITTED = ROOT / "results" / "reference" / "cpu_core_mini_2026-11-30"
COPIES = (f"results/{MINI}", "results/before", "results/after", "results/later")
FAR_COPY = "far/worldbench/results/core-full-mi300x-1a2b3c4d"

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="wmbench pull needs rsync")
needs_rsync_and_zstd = pytest.mark.skipif(
    not (shutil.which("rsync") and shutil.which("zstd")),
    reason="wmbench pull needs rsync, .tar.zst needs zstd",
)


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def environment(project: Path) -> dict[str, str]:
    """What a reader's fresh shell would have in this copy: no environment that is active, and the
    stand-ins before the real programs."""
    others = [
        place for place in os.environ["PATH"].split(":") if not (Path(place) / "wmbench").exists()
    ]
    return {
        **{
            key: value
            for key, value in os.environ.items()
            if key not in ("PYTHONDONTWRITEBYTECODE", "LIBERO_CONFIG_PATH", "VIRTUAL_ENV")
        },
        "PATH": ":".join([str(project / "stand-ins"), *others]),
        # The environment's own wmbench would import the checkout that it was installed from.
        "PYTHONPATH": f"{project}:{project / 'wmvla' / 'plugin'}",
        "MAKEFLAGS": "SCALE=smoke",
        "PYTEST_ADDOPTS": "--scale=smoke",
        "FAR_HOME": str(project / "far"),
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("pages"), Path(sys.prefix))
    (project / "far").mkdir()
    (project / "stand-ins").mkdir()
    for name, text in STAND_INS.items():
        (project / "stand-ins" / name).write_text(text)
        (project / "stand-ins" / name).chmod(0o755)
    return project


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_commands_and_writes_into_places_of_its_own(name):
    steps = list(steps_of(page(name)))
    assert any(step.path is None for step in steps)
    assert [
        step.path for step in steps if step.path is not None and (ROOT / step.path).exists()
    ] == []


def test_the_tutorial_names_the_run_that_its_command_makes():
    assert f"results/{MINI}" in page("tutorial")


def test_make_in_the_copy_leaves_the_environment_as_it_is(project):
    assert (
        subprocess.run(["make", "--question", ".venv/.ready"], cwd=project, check=False).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["tutorial", "extending", pytest.param("mi300x", marks=needs_rsync)]
)
def test_every_command_of_a_page_that_plays_works(name, project):
    if name != "tutorial":  # their reader has followed it
        run_commands("make bench SUITE=core", project, environment(project))
    printed = run_page(page(name), project, environment(project), {MINI: SMOKE, "mi300x-8": "cpu"})
    assert PLAYING[name] in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["report", pytest.param("verify", marks=needs_rsync_and_zstd), "compare", "import"]
)
def test_every_command_of_a_page_that_reads_a_run_works(name, project):
    for copy in (*COPIES, FAR_COPY):
        shutil.rmtree(project / copy, ignore_errors=True)
        shutil.copytree(COMMITTED, project / copy)
    assert READING[name] in run_page(page(name), project, environment(project), {})
