"""Kills a command in its middle, twice, then lets it end: is all as if nothing had happened?

``python tests/bench/kill_twice.py [TIMES [COMMAND ...]]`` prints a line per command: how many double
kills ended as the uninterrupted command did, and left no process behind.

On 2 cores all did: packing with zstd, pull and merge 100 of 100 (200, 133 and 187 of 200 kills came
before the end), removal 40 of 40 (75 of 80 in the removal), latents 25 of 25 (36 of 50), training 8
of 8 (11 of 16).
"""

import atexit
import functools
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))
import fake_rollouts
import psutil
from fake_runs import arguments_for, trained
from sealed_run import sealed_run, small_plan, unsealed_run
from synthetic_run import core_plan, rows_of

from bench import cli
from bench.record.journal import journal_path
from wmvla.rollout.journal import Journal, shard_journal_path
from wmvla.rollout.shard import Shard
from wmvla.rollout.shard import rows_of as rows_of_shard

SHORT = small_plan()
SMOKE = core_plan("smoke", episodes=10)
OF_THE_CLOCK = frozenset(
    [
        "seconds",
        "cpu_seconds",
        "episode_cpu_seconds",
        "finished_at",
        "played",
        "rollout_workers",
        "policy_batch",
        "at",
        "sha256",
        "sums",
        "joules",
        "joules_of",
        "reset",
    ]
)
SIGN, AIM = Path("..", "sign"), "KILL_TWICE_AIM"
REMOVAL = 0.25
"""Seconds that the removal of a checkpoint takes if it is to be killed."""
PATIENCE = 15.0
"""Seconds that processes of a killed command may need to end."""


class Command(NamedTuple):
    """`prepare` fills a folder, in which the command is then given; `looks_at` it leaves."""

    prepare: Callable[[Path], object]
    arguments: Callable[[Path], list[str]]
    looks_at: str = "."
    main: Callable[[list[str]], int] = cli.main
    aimed: bool = False
    """Its ``main`` says by the file `SIGN` that the part has begun which is to be killed."""
    met: Callable[[Path], bool] = lambda _: True
    """Whether what a killed one left shows that it was in that part."""


def _journals(top: Path, number: int, share: float) -> None:
    """A trained run of whose rollouts one of two shards has played all, the other a `share`."""
    run_dir = trained(SMOKE, top / "results")
    for case in SMOKE.rollout_cases():
        rows = rows_of(SMOKE, case, [True] * len(SMOKE.episodes))
        for each in (1, 2):
            mine = {row.index for row in rows_of_shard(Shard(each, 2), SMOKE.episodes)}
            journal = Journal(shard_journal_path(journal_path(run_dir, case.id), Shard(each, 2)))
            played = [row for row in rows if row["index"] in mine]
            for row in played[: len(played) if each == number else round(share * len(played))]:
                scene = f"{row['init']:064x}"
                journal.append({**row, "success": True, "scene_hash": scene})


def _run(top: Path) -> list[str]:
    return arguments_for(top / "results" / SMOKE.run_name)


@functools.cache
def _toy() -> Any:
    """A tiny dataset, encoder and SmolVLA, made once for this process; torch and LeRobot are then
    in its memory, and in that of each fork."""
    import torch

    from tests.wmvla import conftest as made

    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="kill-twice-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return made.Toy(
        root,
        made.make_tiny_vlm(root / "vlm", made.MODEL, made.SIZE, [made.SENTENCE]),
        made.make_tiny_encoder(root / "encoder", made.WORLD, made.SIZE),
        made.write_toy_dataset(root / "dataset", "toy/noise"),
        "toy/noise",
        root / "cache",
    )


def _latents(arguments: list[str]) -> int:
    from wmvla.commands import latents

    return latents.main(arguments)


def _latents_flags(_: Path) -> list[str]:
    return [
        f"--dataset.repo_id={_toy().repo_id}",
        f"--dataset.root={_toy().dataset}",
        f"--policy.world_vision_model_name={_toy().encoder}",
        "--policy.cache_dir=cache",
        "--batch_size=2",
    ]


def _job(origin: Path) -> None:
    """A training that writes a checkpoint at every step, and then removes the one before."""
    from tests.wmvla.conftest import TRAINING

    work, every = origin.parent / "work", replace(TRAINING, steps=12, save_every=1)
    _toy().scratch_job(work, training=every).write(origin / "job.json")


def _training(arguments: list[str]) -> int:
    from wmvla.train.main import main

    return main(Path(*arguments))


def _removal(arguments: list[str]) -> int:
    """A training whose removals of checkpoints are slow; one of them says that it begins."""
    from wmvla.train import checkpoint

    remove, unlink, count = shutil.rmtree, os.unlink, itertools.count()

    def slowly(*of: Any, **named: Any) -> None:
        time.sleep(REMOVAL / 9)  # its files are nine
        unlink(*of, **named)

    def rmtree(*of: Any, **named: Any) -> None:
        if next(count) == int(os.environ.get(AIM, "-1")):
            SIGN.touch()
        os.unlink = slowly
        remove(*of, **named)
        os.unlink = unlink

    checkpoint.shutil = types.SimpleNamespace(rmtree=rmtree)  # type: ignore[assignment]
    return _training(arguments)


def _two_checkpoints(top: Path) -> bool:
    return sum(path.name.isdigit() for path in (top / "checkpoints").iterdir()) > 1


COMMANDS = {
    "report": Command(lambda top: unsealed_run(top / "run", SHORT), lambda _: ["report", "run"]),
    "pack": Command(
        lambda top: sealed_run(top / "run", SHORT), lambda _: ["pack", "run", "-o", "out.tar.gz"]
    ),
    "pack, zstd": Command(
        lambda top: sealed_run(top / "run", SHORT), lambda _: ["pack", "run", "-o", "out.tar.zst"]
    ),
    "pull": Command(
        lambda top: sealed_run(top / "there", SHORT), lambda _: ["pull", "there", "here"], "here"
    ),
    "merge": Command(lambda top: _journals(top, 1, 1.0), _run),
    "resume": Command(lambda top: _journals(top, 1, 0.5), _run),
    "latents": Command(lambda _: _toy(), _latents_flags, main=_latents),
    "training": Command(_job, lambda _: ["job.json"], main=_training),
    "removal": Command(
        _job, lambda _: ["job.json"], main=_removal, aimed=True, met=_two_checkpoints
    ),
}


def start(top: Path, command: Command) -> int:
    """The command as a process of a session of its own: its id."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        os.chdir(top)
        nothing = os.open(top.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        fake_rollouts.install()
        code = command.main(command.arguments(top))
    finally:
        os._exit(code)


def _wait(command: Command, child: int, folder: Path, lasts: float, luck: random.Random) -> None:
    """Until it is to be killed, or has ended."""
    if not command.aimed:
        time.sleep(luck.uniform(0.0, lasts))
        return
    sign, ended = folder / SIGN.name, os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not sign.exists() and os.waitid(os.P_PID, child, ended) is None:
        time.sleep(0.001)
    time.sleep(luck.uniform(0.0, REMOVAL))


def alive(sessions: set[int]) -> list[psutil.Process]:
    """What lives of those sessions."""
    found = []
    for process in psutil.process_iter():
        try:
            zombie = process.status() == psutil.STATUS_ZOMBIE
            if os.getsid(process.pid) in sessions and not zombie:
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            pass
    return found


def left_behind(sessions: set[int]) -> list[psutil.Process]:
    deadline = time.monotonic() + PATIENCE
    while (found := alive(sessions)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def content(folder: Path) -> dict[str, Any]:
    """What a command left that is no name or number of the clock; of reports of a run that was
    played here the verdicts, for they show seconds."""
    found: dict[str, Any] = {}
    played = (folder / "results").exists()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in name.split("/")):
            continue
        if not played:
            found[name] = path.read_bytes()
            if name.startswith("checkpoints/") and path.suffix == ".json":
                found[name] = json.loads(path.read_text())  # where 10 and 10.0 are the same
            if path.name == "metrics.jsonl":
                found[name] = [_timeless(json.loads(row)) for row in path.read_text().splitlines()]
            if name.endswith(".fp16.json"):  # of latents, with the time of their file
                found[name] = json.loads(path.read_text())
                del found[name]["file"]["mtime_ns"]
        elif path.suffix == ".jsonl" and "/episodes/" in name:
            rows = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
            found[name] = sorted(rows, key=lambda row: row["index"])
        elif path.name == "report.json":
            report = json.loads(path.read_text())
            found[name] = [report[key] for key in ("verdict", "complete", "claims", "rates")]
        elif path.suffix == ".json" and path.name != "manifest.json":
            found[name] = _timeless(json.loads(path.read_text()))
        else:
            found[name] = "is there"
    return {name: inside for name, inside in found.items() if "/logs/" not in name}


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in OF_THE_CLOCK}


def kill_twice(
    name: str, times: int, luck: random.Random, folder: Path
) -> tuple[int, int, list[str]]:
    """Do it `times`: how many were as they should be, how many kills came before the end, or in
    what they were aimed at, and what was wrong of the others."""
    command, origin, top = COMMANDS[name], folder / "origin", folder / "work"
    origin.mkdir()
    command.prepare(origin)
    for _ in range(2):  # the first may find caches empty
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(origin, top)
        began, child = time.monotonic(), start(top, command)
        assert os.waitpid(child, 0)[1] == 0, (folder / "output").read_text()
        lasts = time.monotonic() - began
    wanted = content(top / command.looks_at)
    good, hits, wrong = 0, 0, []
    for _ in range(times):
        shutil.rmtree(top)
        shutil.copytree(origin, top)
        sessions = set()
        for _ in range(2):
            (folder / SIGN.name).unlink(missing_ok=True)
            os.environ[AIM] = str(luck.randrange(5))
            child = start(top, command)
            sessions.add(child)
            _wait(command, child, folder, lasts, luck)
            os.kill(child, signal.SIGKILL)
            hits += os.WIFSIGNALED(os.waitpid(child, 0)[1]) and command.met(top)
        del os.environ[AIM]
        child = start(top, command)
        sessions.add(child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found, left = content(top / command.looks_at), left_behind(sessions)
        unlike = [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
        if code or unlike or left:
            lines = (folder / "output").read_text().splitlines()
            wrong.append(f"exit {code}, unlike {unlike}, left {left}, said {lines[-1:]}")
        good += not (code or unlike or left)
    return good, hits, wrong


def main(times: int = 100, names: tuple[str, ...] = tuple(COMMANDS)) -> int:
    bad = False
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            good, hits, wrong = kill_twice(name, times, random.Random(name), Path(folder))
        where = "in what they were aimed at" if COMMANDS[name].aimed else "before its end"
        print(
            f"{name:<12}{good} of {times} double kills ended as the uninterrupted command;"
            f" {hits} of {2 * times} kills came {where}",
            *wrong,
            sep="\n  ",
            flush=True,
        )
        bad |= good < times
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(
        main(*map(int, sys.argv[1:2]), *([tuple(sys.argv[2:])] if sys.argv[2:] else []))
    )
