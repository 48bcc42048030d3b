"""Fetches the small files of a run on another machine: again and again, never for the worse.

rsync fills a folder inside the destination; only what arrived whole leaves it and replaces what is
here, but for journals that lack an episode which is recorded here.
"""

import contextlib
import filecmp
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import lock_descriptor

from bench.plan.document import PLAN_FILE
from bench.plan.files import load_plan
from bench.verify.manifest import BESIDE, files_of
from wmvla.errors import UserError
from wmvla.files import rename_durably
from wmvla.processes import die_with_parent
from wmvla.rollout.lock import LOCK_SECONDS

STAGE = ".pull"
"""Folder of the destination that rsync fills. It is kept: the next pull fetches what is new."""
NEVER = (".*", "*.partial", "*.tmp")
WEIGHTS = "/checkpoints/"
SILENCE = 120
"""Seconds without a byte after which a machine is given up: it may be gone."""
VANISHED = 24
"""rsync's exit code if a file was gone before it was fetched, as files of a live run may be."""
CONSEQUENCES = ("rsync error", "connection unexpectedly closed", "Broken pipe", "Warning: ")
"""In lines that say less than why; the last of the others says why. ssh shows banners before."""


@dataclass(frozen=True)
class Pulled:
    run_dir: Path
    new: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    """Journals that lack something there which is recorded here, and why: a sentence each."""


def pull(source: str, destination: Path | None = None, weights: bool = False) -> Pulled:
    """Fetch ``HOST:DIR``, or a folder here, into `destination` (``results/<its name>``). UserError
    if rsync is not there or fails (nothing has changed here then), another run lies here, or
    another pull is at work."""
    name = source.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    if not name:
        raise UserError(f"{source}: there is no run directory in it; give HOST:DIR")
    if destination is None and name in (".", ".."):
        raise UserError(
            f"{source}: has no folder name to use here; give DEST, the folder to write to"
        )
    destination = Path("results") / name if destination is None else destination
    stage = destination / STAGE
    stage.mkdir(parents=True, exist_ok=True)
    with _alone(destination) as held:
        return _pull(source.rstrip("/"), destination, stage, weights, held)


@contextlib.contextmanager
def _alone(destination: Path) -> Iterator[IO[str]]:
    """The lock file of a destination, taken. UserError if another pull has it. Non-obvious: rsync
    holds it too, and outlives a killed pull for a moment: ``LOCK_SECONDS``."""
    with (destination / f"{STAGE}.lock").open("w") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while not lock_descriptor(file.fileno(), blocking=False):
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise UserError(
                f"{destination}: another wmbench pull is running here; wait for it or stop it"
            )
        yield file


def _pull(source: str, destination: Path, stage: Path, weights: bool, held: IO[str]) -> Pulled:
    """Non-obvious: the first time the plan is fetched alone: what is no run has none."""
    if not (destination / PLAN_FILE).exists():
        _rsync(source, f"{source}/{PLAN_FILE}", stage, [], held)
    excluded = [f"--exclude={pattern}" for pattern in (*NEVER, *(() if weights else (WEIGHTS,)))]
    options = ["--recursive", "--delete-delay", *([] if weights else ["--checksum"]), *excluded]
    _rsync(source, f"{source}/", stage, options, held)
    plan = load_plan(stage)
    if (destination / PLAN_FILE).exists() and load_plan(destination).hash != plan.hash:
        raise UserError(
            f"{destination}: this folder has another run ({load_plan(destination).run_name}); "
            "choose another folder"
        )
    return _take_over(stage, destination)


def _rsync(source: str, wanted: str, stage: Path, options: Sequence[str], held: IO[str]) -> None:
    """Bring what is `wanted` of `source` into `stage`, while rsync too has the lock file `held`.

    Non-obvious: files are compared by content, not by time and size: a journal may grow within a
    second. Of weights, which are large and written once, time and size do. UserError if it fails.
    """
    program = shutil.which("rsync")
    if program is None:
        raise UserError(
            "rsync is not installed here: install it on both machines, pull fetches the files "
            "with it"
        )
    always = ["--quiet", "--times", "--compress", "--protect-args"]
    always += ["--partial-dir=.rsync-partial", f"--timeout={SILENCE}"]
    command = [program, *always, *options, "--", wanted, f"{stage}/"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(held.fileno(),),
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),
        )
    except OSError as error:
        raise UserError(f"{program}: cannot be started: {error.strerror}") from None
    if done.returncode not in (0, VANISHED):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reasons = [line for line in lines if not any(each in line for each in CONSEQUENCES)]
        why = (reasons or lines or [f"rsync exited with {done.returncode}"])[-1]
        raise UserError(f"{source}: could not be pulled, and nothing has changed here: {why}")


def _take_over(stage: Path, destination: Path) -> Pulled:
    """Put what arrived in its place, file by file; the plan first, the manifest last."""
    arrived = files_of(stage)
    arrived |= {name: stage / name for name in BESIDE if (stage / name).is_file()}
    new, changed, kept = [], [], []
    for name in sorted(arrived, key=lambda name: (name != PLAN_FILE, name in BESIDE, name)):
        path, target = arrived[name], destination / name
        if not target.exists():
            new.append(name)
        elif path.samefile(target) or filecmp.cmp(path, target, shallow=False):
            continue
        elif name.startswith("episodes/") and (lacks := _lacks(path, target)):
            kept.append(
                f"{target}: on the other machine it lacks {lacks} that "
                f"{'is' if lacks == '1 line' else 'are'} recorded here; the file here is kept"
            )
            continue
        else:
            changed.append(name)
        _replace(path, target)
    for failure in (destination / "failures").glob("[!.]*.json"):
        if f"failures/{failure.name}" not in arrived:  # the case has succeeded since
            failure.unlink()
    return Pulled(destination, tuple(new), tuple(changed), tuple(kept))


def _lacks(theirs: Path, ours: Path) -> str | None:
    """How many whole lines of our journal theirs has not; None if it has them all."""
    lines = set(theirs.read_bytes().split(b"\n"))
    lacking = sum(line not in lines for line in ours.read_bytes().split(b"\n")[:-1])
    return f"{lacking} line{'s' if lacking > 1 else ''}" if lacking else None


def _replace(path: Path, target: Path) -> None:
    """Non-obvious: a link is enough, and saves room: rsync writes a new file, none in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        try:
            partial.hardlink_to(path)
        except OSError:  # a file system without links
            shutil.copy2(path, partial)
        rename_durably(partial, target)
    finally:
        partial.unlink(missing_ok=True)
