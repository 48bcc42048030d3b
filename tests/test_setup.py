"""The Makefile's flags and set-up's decisions. Fake programs stand for uv and apt: what the script
asks of them is tested; that the real ones then do it is shown by every fresh clone in CI."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FAKE_UV = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$1" in
--version) echo "uv 0.13.9" ;;
python) [ -z "$FAIL_PYTHON" ] || exit 2 ;;
sync)
    [ -z "$FAIL_SYNC" ] || { echo "error: no route to the index" >&2; exit 2; }
    mkdir -p .venv/bin
    printf '#!/bin/sh\\necho "PYTHONDONTWRITEBYTECODE=$PYTHONDONTWRITEBYTECODE $*" >> "$CALLS"\\n' > .venv/bin/python
    printf '[ "$1" != - ] || cat >/dev/null\\n[ "$1" != - ] || echo "$MISSING"\\n' >> .venv/bin/python
    chmod +x .venv/bin/python ;;
esac
"""


class Project:
    """A copy of what set-up reads, with fakes first on the PATH and a home folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.home = folder / "home"
        self.fakes = folder / "bin"
        self.calls = folder / "calls"
        for path in (self.folder, self.home, self.fakes):
            path.mkdir(parents=True)
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        for name in ("Makefile", "pyproject.toml", "uv.lock"):
            shutil.copy2(ROOT / name, self.folder / name)
        self.calls.touch()
        self.fake("uv", FAKE_UV)
        self.fake("id", "#!/bin/sh\necho 1000\n")

    def fake(self, name: str, script: str) -> None:
        path = self.fakes / name
        path.write_text(script)
        path.chmod(0o755)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={
                "PATH": f"{self.fakes}:/usr/bin:/bin",
                "HOME": str(self.home),
                "CALLS": str(self.calls),
                "LC_ALL": "C",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def complaint(self, **environment: str) -> str:
        """The one line in which a failing set-up says why."""
        done = self.make("setup", **environment)
        assert done.returncode == 2
        assert "Traceback" not in done.stdout + done.stderr
        assert not (self.folder / ".venv/.ready").exists()
        lines = [line for line in done.stderr.splitlines() if line.startswith("set-up: ")]
        assert len(lines) == 1, done.stderr
        return lines[0]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    pyenv = project.home / ".pyenv/versions/3.12.9/bin"
    pyenv.mkdir(parents=True)
    (pyenv / "python").symlink_to(Path(sys.base_prefix) / "bin" / "python3.12")
    # As pyenv's shims do where 3.12 is installed but not selected.
    project.fake(
        "python3.12", "#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n"
    )
    return project


def test_finds_python_behind_a_shim_that_does_not_run(project: Project) -> None:
    done = project.make("setup", PYTHONDONTWRITEBYTECODE="1", VIRTUAL_ENV="/elsewhere")
    assert done.returncode == 0, done.stderr
    calls = project.calls.read_text()
    sync = next(line for line in calls.splitlines() if line.startswith("sync"))
    python = sync.split("--python ")[1]
    assert (
        subprocess.check_output(
            [python, "-c", "import sys; print(sys.version_info[:2])"], text=True
        )
        == "(3, 12)\n"
    )
    assert "--frozen" in sync
    assert "PYTHONDONTWRITEBYTECODE= -c import" in calls


def test_done_again_it_does_nothing_and_at_once(project: Project) -> None:
    assert project.make("setup").returncode == 0
    calls = project.calls.read_text()
    begin = time.perf_counter()
    done = project.make("setup")
    assert done.returncode == 0
    assert time.perf_counter() - begin < 1
    assert project.calls.read_text() == calls


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml", "scripts/setup.sh"])
def test_a_changed_input_sets_up_again(project: Project, name: str) -> None:
    assert project.make("setup").returncode == 0
    calls = project.calls.read_text()
    later = time.time() + 10
    os.utime(project.folder / name, (later, later))
    assert project.make("setup").returncode == 0
    assert len(project.calls.read_text()) > len(calls)


def test_offline_ends_in_one_line(project: Project) -> None:
    assert "is a package index reachable" in project.complaint(FAIL_SYNC="yes")


def test_missing_libraries_without_root_are_one_line(project: Project) -> None:
    complaint = project.complaint(MISSING="libosmesa6 libegl1")
    assert "apt-get install libosmesa6 libegl1" in complaint


def test_missing_libraries_are_installed_by_root(project: Project) -> None:
    project.fake("id", "#!/bin/sh\necho 0\n")
    project.fake("apt-get", '#!/bin/sh\necho "apt-get $@" >> "$CALLS"\n')
    complaint = project.complaint(MISSING="libosmesa6")
    assert "still not loadable after apt-get: libosmesa6" in complaint
    calls = project.calls.read_text()
    assert "apt-get update" in calls
    assert "apt-get install -y --no-install-recommends libosmesa6" in calls


@pytest.mark.parametrize("user", [0, 1000])
def test_programs_that_fetch_and_pack_are_installed_by_root_and_needed_by_nobody(
    project: Project, user: int
) -> None:
    without = project.folder.parent / "without"
    without.mkdir()
    for program in [*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()]:
        if program.name not in ("rsync", "zstd") and not (without / program.name).is_symlink():
            (without / program.name).symlink_to(program)
    project.fake("id", f"#!/bin/sh\necho {user}\n")
    project.fake("apt-get", '#!/bin/sh\necho "apt-get $@" >> "$CALLS"\n[ "$4" != zstd ]\n')
    done = project.make("setup", PATH=f"{project.fakes}:{without}")
    assert done.returncode == 0, done.stderr
    asked = [
        line.rsplit(" ", 1)[1]
        for line in project.calls.read_text().splitlines()
        if line.startswith("apt-get install")
    ]
    assert asked == (["rsync", "zstd"] if user == 0 else [])
    assert ("zstd could not be installed; going on without it" in done.stdout) == (user == 0)


@pytest.mark.skipif(
    subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; sys.exit(sys.version_info[:2] == (3, 12))"],
        check=False,
    ).returncode
    != 0,
    reason="the system's own Python is 3.12",
)
def test_no_python_to_be_had_is_one_line(project: Project) -> None:
    shutil.rmtree(project.home / ".pyenv")
    assert "install python3.12 and try again" in project.complaint(FAIL_PYTHON="yes")


def test_only_given_variables_become_flags(project: Project) -> None:
    assert project.make("setup").returncode == 0
    assert project.make("-n", "bench").stdout.split() == [".venv/bin/wmbench", "run"]
    given = project.make(
        "-n", "bench", "SUITE=core", "SEEDS=0,1", "EPISODES=0", SCALE="mini"
    ).stdout.split()
    assert given == [
        ".venv/bin/wmbench",
        "run",
        "'core'",
        "--scale='mini'",
        "--seeds='0,1'",
        "--episodes='0'",
    ]
    assert "--steps=''" in project.make("-n", "plan", "STEPS=").stdout


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("SCALE", "--scale"),
        ("MACHINE", "--machine"),
        ("SEEDS", "--seeds"),
        ("ARMS", "--arms"),
        ("EPISODES", "--episodes"),
        ("STEPS", "--steps"),
        ("BATCH_SIZE", "--batch-size"),
        ("TOTAL_SAMPLES", "--total-samples"),
    ],
)
def test_every_variable_reaches_wmbench_as_it_was_given(
    project: Project, variable: str, option: str
) -> None:
    assert project.make("setup").returncode == 0
    wmbench = project.folder / ".venv/bin/wmbench"
    wmbench.write_text(
        '#!/bin/sh\nfor argument in "$@"; do echo "[$argument]"; done\necho "[$OMP_NUM_THREADS]"\n'
    )
    wmbench.chmod(0o755)
    value = "a 'b' c"
    for target, command in (("bench", "run"), ("plan", "plan")):
        done = project.make(target, f"{variable}={value}")
        assert done.stdout.splitlines() == [f"[{command}]", f"[{option}={value}]", "[1]"]


def test_exit_codes_of_wmbench_reach_the_caller(project: Project) -> None:
    assert project.make("setup").returncode == 0
    wmbench = project.folder / ".venv/bin/wmbench"
    wmbench.write_text("#!/bin/sh\necho 'EPISODES must be more than 0' >&2\nexit 2\n")
    wmbench.chmod(0o755)
    done = project.make("bench", "EPISODES=0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "EPISODES must be more than 0"


def test_report_without_a_run_is_one_line(project: Project) -> None:
    assert project.make("setup").returncode == 0
    done = project.make("report")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("make report needs RUN=")


def test_make_alone_lists_the_targets(project: Project) -> None:
    listed = project.make().stdout
    for target in (
        "bench",
        "plan",
        "report",
        "doctor",
        "test",
        "lint",
        "format",
        "image",
        "container-bench",
    ):
        assert f"\n  {target} " in listed
    assert not project.calls.read_text(), "help needs no set-up"


def test_a_copied_checkout_sets_up_its_environment_anew(project: Project) -> None:
    """In place, for what is installed may not be had again; ``make`` sees the other path by
    itself."""
    assert project.make("setup").returncode == 0
    old, programs = project.folder, project.folder / ".venv/bin"
    packages = project.folder / ".venv/lib/python3.12/site-packages"
    info = packages / "lerobot_policy_smolvla_world-0.1.0.dist-info"
    info.mkdir(parents=True)
    (programs / "activate").write_text(f"VIRTUAL_ENV='{old}/.venv'\nexport VIRTUAL_ENV\n")
    (programs / "pytest").write_text(f"#!{old}/.venv/bin/python\n# of {old}-fork/.venv\n")
    (programs / "pytest").chmod(0o755)
    (programs / "ruff").write_bytes(b"\0" + str(old).encode())
    (packages / "_lerobot_policy_smolvla_world.pth").write_text(f"{old}\n{old}/wmvla/plugin")
    (info / "direct_url.json").write_text(f'{{"url":"file://{old}"}}')
    (programs / "python3.12").symlink_to(old / ".tools/python/bin/python3.12")
    linked = old.parent / "uv-cache"
    linked.hardlink_to(packages / "_lerobot_policy_smolvla_world.pth")

    project.folder = old.parent / "copy"
    shutil.copytree(old, project.folder, symlinks=True)
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert f".venv was made for {old}; it is made to fit {project.folder}" in done.stdout
    new = project.folder
    programs, packages = new / ".venv/bin", new / ".venv/lib/python3.12/site-packages"
    assert (programs / "pytest").read_text() == f"#!{new}/.venv/bin/python\n# of {old}-fork/.venv\n"
    assert os.access(programs / "pytest", os.X_OK)
    assert (programs / "ruff").read_bytes() == b"\0" + str(old).encode()
    assert (packages / "_lerobot_policy_smolvla_world.pth").read_text().splitlines() == [
        f"{new}",
        f"{new}/wmvla/plugin",
    ]
    assert (packages / info.name / "direct_url.json").read_text() == f'{{"url":"file://{new}"}}'
    assert (programs / "python3.12").readlink() == new / ".tools/python/bin/python3.12"
    assert (programs / "activate").read_text().startswith(f"VIRTUAL_ENV='{new}/.venv'\n")
    assert str(old) in linked.read_text()
    assert "made to fit" not in project.make("setup").stdout


def test_a_link_to_the_checkout_sets_up_nothing(project: Project) -> None:
    assert project.make("setup").returncode == 0
    link = project.folder.parent / "link"
    link.symlink_to(project.folder)
    project.folder = link
    calls = project.calls.read_text()
    assert project.make("setup").returncode == 0
    assert project.calls.read_text() == calls
