"""Writers of wmvla on a disk that fails; run by ``test_writers``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.failing_disk import check
from tests.wmvla.commands.planned import PlannedSimulation
from tests.wmvla.conftest import ENVIRONMENT, MODEL, SENTENCE, SIZE, WORLD, Toy
from wmvla.commands.evaluation.settings import keep_settings
from wmvla.data.frames import DatasetFrames
from wmvla.data.opening import open_metadata
from wmvla.files import new_folder, write_file, write_json
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.conversion import convert, load_with_processors
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.recipe import Demonstrations
from wmvla.rollout.film import write_film
from wmvla.rollout.journal import Journal
from wmvla.sim import demonstrations
from wmvla.sim.libero.assets import prepare_libero
from wmvla.train.checkpoint import save_checkpoint
from wmvla.train.feature_file import describe
from wmvla.train.features import _make
from wmvla.train.metrics import MetricsFile
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.writer import write_latents
from wmvla.world.tiny_encoder import make_tiny_encoder

ROW = {
    "suite": "libero_object", "task": 0, "init": 0, "env_seed": 0, "noise_seed": 0, "repeat": 0,
    "case": "E0-none", "success": True, "steps": 3, "status": "ok", "error": None, "seconds": 1.0,
    "cpu_seconds": 1.0, "scene_hash": "0" * 64, "queries": 1, "renders": 1,
}  # fmt: skip


def file(place: Path) -> Callable[[], object]:
    write_file(place / "text", b"old" * 9000)
    return lambda: write_file(place / "text", b"new" * 9000)


def json_file(place: Path) -> Callable[[], object]:
    return lambda: write_json(place / "further" / "folder" / "a.json", {"a": list(range(3000))})


def folder(place: Path) -> Callable[[], object]:
    def do() -> None:
        with new_folder(place / "made") as unfinished:
            (unfinished / "a").write_bytes(bytes(20000))

    return do


def journal(place: Path) -> Callable[[], object]:
    one = Journal(place / "episodes" / "E0-none.jsonl")
    one.append({"index": 0, **ROW})
    one.append({"index": 1, **ROW})
    with one.path.open("ab") as half:
        half.write(b'{"index": 2, "ca')
    return lambda: 2 in one.finished() or one.append({"index": 2, **ROW})


def metrics(place: Path) -> Callable[[], object]:
    path = place / "metrics" / "E2-train-s0.jsonl"
    path.parent.mkdir()
    path.write_text('{"step": 1, "seconds": 1.0}\n{"step": 2, "sec')

    def do() -> None:
        opened = MetricsFile(path, 1)
        opened.add(2, 0.1, 8, {"loss": torch.tensor(0.5)})
        opened.flush(1.0)
        opened.sync()

    return do


@pytest.fixture
def checkpoint(base: Path):
    policy, processors = load_with_processors(base, "cpu")
    state = {"exp_avg": torch.ones(9000)}

    def writer(place: Path) -> Callable[[], object]:
        save_checkpoint(place, 3, policy, processors, state)
        return lambda: save_checkpoint(place, 4, policy, processors, state)

    return writer


@pytest.fixture
def conversion(base: Path, toy: Toy):
    config = SmolVLAWorldConfig(**toy.world, init_from_policy_path=str(base), device="cpu")
    return lambda place: lambda: (place / "out").exists() or convert(config, place / "out", 0)


@pytest.fixture
def latents(toy: Toy):
    frames = DatasetFrames(toy.repo_id, toy.dataset, "front")
    encoder = WorldEncoder(str(toy.encoder))

    def writer(place: Path) -> Callable[[], object]:
        return lambda: write_latents(place / "latents.npy", frames, encoder, 4, batch_rows=16)

    return writer


@pytest.fixture
def features(base: Path, toy: Toy):
    """The vision features of one camera."""
    policy, _ = load_with_processors(base, "cpu")
    metadata, key = open_metadata(toy.dataset, toy.repo_id), "observation.images.image"
    accelerator = Accelerator(cpu=True)

    def writer(place: Path) -> Callable[[], object]:
        made = describe(place / "features", key, key, policy, "fp32", metadata)
        job = toy.scratch_job(place)

        def do() -> None:
            if not made.path.exists():
                _make(job, policy, made, accelerator, lambda: False, None)

        return do

    return writer


@pytest.fixture
def libero(monkeypatch: pytest.MonkeyPatch):
    """LIBERO's configuration."""
    prepare_libero()  # what it finds done is what is left

    def writer(place: Path) -> Callable[[], object]:
        def do() -> None:
            monkeypatch.delenv("LIBERO_CONFIG_PATH", raising=False)
            prepare_libero(place)

        return do

    return writer


def vlm(place: Path) -> Callable[[], object]:
    return lambda: make_tiny_vlm(place / "vlm", MODEL, SIZE, [SENTENCE])


def encoder(place: Path) -> Callable[[], object]:
    return lambda: make_tiny_encoder(place / "encoder", WORLD, SIZE)


def film(place: Path) -> Callable[[], object]:
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    return lambda: write_film(place / "videos" / "E0-none-0.mp4", frames)


def settings(place: Path) -> Callable[[], object]:
    return lambda: keep_settings(place / "eval", {"seed": 1})  # type: ignore[arg-type]


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch):
    """Demonstrations; noise in place of the simulator, and of the processes that play."""
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    asked = Demonstrations(source="expert", repo_id="toy/made", inits=(0, 1))
    image = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    episode = {
        "image": image, "image2": image, "state": np.zeros((5, 8), np.float32),
        "action": np.zeros((5, 7), np.float32), "attempt": np.array(0),
    }  # fmt: skip

    def play(environment, demonstrations_, staging, *others):
        files = demonstrations._episode_files(environment, demonstrations_, staging)
        for path, (_, init) in files.items():
            if not path.exists():
                simulation = PlannedSimulation(SIZE)
                demonstrations.record_episode(environment, simulation, demonstrations_, init, path)

    monkeypatch.setattr(demonstrations, "record", lambda *_: episode)
    monkeypatch.setattr(demonstrations, "_play_missing", play)

    def writer(place: Path) -> Callable[[], object]:
        return lambda: demonstrations.make_demonstrations(
            ENVIRONMENT, asked, place / "made", workers=1
        )

    return writer


WRITERS = {
    "file": file, "json_file": json_file, "folder": folder, "journal": journal, "metrics": metrics,
    "vlm": vlm, "encoder": encoder, "film": film, "settings": settings,
    **dict.fromkeys(("checkpoint", "conversion", "latents", "dataset", "features", "libero")),
}  # fmt: skip


def resumes(name: str) -> bool:
    """Whether the next call goes on with it, or writes it anew."""
    unfinished = (
        name.startswith((".latents.npy.", "features/.vision_features_"))
        or ".staging/" in name
        or ".partial/" in name
    )
    return unfinished or name.startswith(("metrics/", "episodes/"))


@pytest.mark.parametrize("fault", ["broken", "full", "short"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer(name: str, fault: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    writer = WRITERS[name] or request.getfixturevalue(name)
    check(writer, fault, tmp_path, resumes)
