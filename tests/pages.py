"""Reads a page of docs/ as a script: the files that it shows are written, the commands in its `sh`
fences are run, in order."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


ACTIVATION = ". .venv/bin/activate"


@dataclass(frozen=True)
class Step:
    """A file to write (``path`` is set) or commands for one shell."""

    text: str
    path: str | None = None


def steps_of(page: str) -> Iterator[Step]:
    """The fences of a page: ```` ```sh ```` is run, ```` ```toml suites/a/suite.toml ```` is
    written to that path."""
    for language, path, body in FENCE.findall(page):
        if language == "sh":
            yield Step(body)
        elif path:
            yield Step(body, path)


def copy_project(folder: Path, environment: Path) -> Path:
    """The tracked files in ``folder``, beside them the environment under its usual name.

    Non-obvious: ``.venv`` is a folder of links with a stamp of its own. The environment's stamp
    tells when another checkout was set up; where that was before these files were written, the
    first ``make`` here would install the environment again, and would do so through the link, under
    everyone who uses it.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    (folder / ".venv").mkdir()
    for part in environment.iterdir():
        if part.name != ".ready":
            (folder / ".venv" / part.name).symlink_to(part)
    (folder / ".venv" / ".ready").write_text(f"{folder.resolve()}\n")
    return folder


def run_page(
    page: str, project: Path, environment: Mapping[str, str], instead: Mapping[str, str]
) -> str:
    """Do what the page says, in order, and return all that was printed.

    Args:
        instead: words of the page and what stands in for them here.
    """
    printed, active = [], ""
    for step in steps_of(page):
        text = step.text
        for word, other in instead.items():
            text = text.replace(word, other)
        if step.path is None:
            printed.append(run_commands(active + text, project, environment))
            if ACTIVATION in text:  # once in a shell, and a page is read in one
                active = f"{ACTIVATION}\n"
            continue
        path = project / step.path
        assert not path.exists(), f"the page would overwrite {step.path}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return "\n".join(printed)


def run_commands(text: str, project: Path, environment: Mapping[str, str]) -> str:
    """Give `text` to one shell in `project`, and return what it printed; the first command that
    fails ends the test."""
    done = subprocess.run(
        ["bash", "-eu", "-c", text],
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
    return done.stdout
