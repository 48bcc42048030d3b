"""Reads a page of docs/ as a script: the files that it shows are written, the commands in its `sh` fences are run, in order."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A file to write (``path`` is set) or commands for one shell."""

    text: str
    path: str | None = None


def steps_of(page: str) -> Iterator[Step]:
    """The fences of a page: ```` ```sh ```` is run, ```` ```toml suites/a/suite.toml ```` is written to that path."""
    for language, path, body in FENCE.findall(page):
        if language == "sh":
            yield Step(body)
        elif path:
            yield Step(body, path)


def copy_project(folder: Path, environment: Path) -> Path:
    """The tracked files in ``folder``, beside them the environment under its usual name."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(environment)
    return folder


def run_page(page: str, project: Path, environment: Mapping[str, str], instead: Mapping[str, str]) -> list[str]:
    """Do what the page says, each command in a shell of its own, and return what they printed.

    Args:
        instead: words of the page and what stands in for them here.
    """
    printed = []
    for step in steps_of(page):
        text = step.text
        for word, other in instead.items():
            text = text.replace(word, other)
        if step.path is not None:
            path = project / step.path
            assert not path.exists(), f"the page would overwrite {step.path}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            continue
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=project,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        printed.append(done.stdout)
    return printed
