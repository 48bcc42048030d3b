"""Checkpoints and datasets with one small change: is it refused, or does everything stay as it
was?"""

import contextlib
import io
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests import file_parts, mutations
from tests.wmvla.conftest import SENTENCE, SIZE
from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.commands.evaluation.policy import load_rollout_policy
from wmvla.commands.lerobot_main import lerobots_checks_are_user_errors, parse
from wmvla.data.dataset import InMemoryData, open_data
from wmvla.errors import UserError, library_errors_are_user_errors
from wmvla.policy.weights import checkpoint_folder
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import Query
from wmvla.rollout.policy import RolloutPolicy

SEED = 15
PATIENCE = 20
"""Seconds after which a mutation counts as a fault."""
ROOM = 4 * 2**30
"""Bytes of memory that a mutation may ask for."""
CLASSES = ("refused", "same", "unknowable", "fault")
type Answer = Any
type Way = Callable[[], Answer]


class Part(NamedTuple):
    """A folder whose files are mutated, and what reads it."""

    folder: Path
    ways: dict[str, Way]


class Verdict(NamedTuple):
    number: int
    part: str
    file: str
    kind: str
    keys: list[str]
    """What is different in the file, by key."""
    answer: str
    """One of ``CLASSES``, and then what was said."""
    said: dict[str, str]


def ask(policy: RolloutPolicy) -> np.ndarray:
    """The actions (n, A) for one fixed observation and noise."""
    draws = np.random.default_rng(0)
    images = {
        name: draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for name in ("image", "image2")
    }
    cameras = [images[name] for name in policy.world_cameras]
    history = (
        np.stack([np.stack([image] * policy.world_frames) for image in cameras])
        if policy.world_frames
        else None
    )
    row, state = EpisodeRow(0, "fake", 0, 0, 1, 2000, 0), draws.normal(size=8).astype(np.float32)
    (answer,) = policy.act([Query(row, 0, 0, SENTENCE, state, images, history, {})])
    return answer.actions


def by_evaluation(folder: Path) -> Way:
    """As ``lerobot-wm-eval`` loads it."""

    def play() -> Answer:
        flags = [f"--policy.path={folder}", "--policy.device=cpu", "--env.type=libero"]
        flags += [f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}"]
        with lerobots_checks_are_user_errors():
            found = checkpoint_folder(str(folder))
            return ask(load_rollout_policy(parse(EvalConfig, flags, "test"), found))

    return play


def by_suite(folder: Path, mode: str) -> Way:
    """As a suite's rollouts load it."""
    return lambda: ask(RolloutPolicy(folder, mode, 2, "cpu"))


def by_data(folder: Path, repo_id: str) -> Way:
    """As training and latents open a dataset; all that they read."""

    def read() -> Answer:
        data = open_data(folder, repo_id, 4)
        rows = np.arange(data.ends[-1])
        images = (
            list(data.images.values())
            if isinstance(data, InMemoryData)
            else data.images.read(rows)  # without its reader processes
        )
        statistics = {
            f"{key}.{name}": np.asarray(value)
            for key, values in data.metadata.stats.items()
            for name, value in values.items()
        }
        found = {**dict(zip(data.cameras, images, strict=True)), **data.batch(rows), **statistics}
        return {**found, "ends": data.ends, "fps": data.metadata.fps}

    return read


def same(one: Answer, other: Answer) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other if isinstance(one, list) else np.array_equal(one, other)


class Hang(BaseException):
    pass


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Inside the block a call may neither hang nor take all memory."""

    def hang(*_: object) -> None:
        raise Hang

    before, limits = signal.signal(signal.SIGALRM, hang), resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, limits[1]))
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def said_by(way: Way, good: Answer) -> tuple[str, str]:
    """What a way makes of its files: refused, same, different or fault, and words for it."""
    try:
        with (
            limited(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            library_errors_are_user_errors(),
        ):
            found = way()
    except UserError as error:
        return "refused", " ".join(str(error).split())
    except Hang:
        return "fault", "it hangs"
    except (Exception, SystemExit) as error:
        return "fault", f"{type(error).__name__}: {error}"
    if same(good, found):
        return "same", ""
    wrong = (
        [key for key in good if not same(good[key], found.get(key))]
        if isinstance(good, dict)
        else []
    )
    return "different", f"different: {', '.join(wrong)}"


def mutate(
    parts: dict[str, Part],
    numbers: range,
    unknowable: Callable[[str, list[str]], bool],
    only: str = "",
) -> Iterator[Verdict]:
    """Do the mutations ``numbers``, each on its own, and say what came of it.

    Args:
        unknowable: whether no check can know that these keys of this file are others.
        only: of files whose name holds this.
    """
    good = {}
    for name, part in parts.items():
        for way, play in part.ways.items():
            answer: list[Answer] = []
            assert (
                said_by(lambda play=play, answer=answer: answer.append(play()), None)[0] == "same"
            )
            good[name, way] = answer[0]
    files = [
        (name, path)
        for name, part in parts.items()
        for path in sorted(part.folder.rglob("*"))
        if path.is_file() and only in f"{name}/{path.relative_to(part.folder)}"
    ]
    for number in numbers:
        draws = np.random.default_rng([SEED, number])
        name, path = mutations.one_of(draws, files)
        part, kinds = parts[name], mutations.kinds_of(path)
        own = [kind for kind in kinds if kind not in mutations.BYTES]
        whole = not own or draws.random() < 0.3
        kind = mutations.one_of(draws, list(mutations.BYTES) if whole else own)
        content, before = path.read_bytes(), file_parts.parts_of(path)
        assert before is not None
        try:
            kinds[kind](path, draws)
            keys = (
                ["-"]
                if not path.is_file()
                else file_parts.changed(before, file_parts.parts_of(path))
            )
            said = {way: said_by(play, good[name, way]) for way, play in part.ways.items()}
        finally:
            path.write_bytes(content)
            mutations.renamed(path).unlink(missing_ok=True)
        file = f"{name}/{path.relative_to(part.folder)}"
        answers = {answer for answer, _ in said.values()}
        if "different" in answers and "fault" not in answers:
            answer = "unknowable" if unknowable(file, keys) else "fault"
        else:
            answer = max(answers, key=CLASSES.index)
        yield Verdict(
            number, name, file, kind, keys, answer, {way: text for way, (_, text) in said.items()}
        )
