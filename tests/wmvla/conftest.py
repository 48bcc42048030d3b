"""Real but tiny parts, made once per test session: a SmolVLM2, a V-JEPA 2, a toy LeRobotDataset,
its latents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets import LeRobotDataset

from wmvla.data.frames import DatasetFrames
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.recipe import BaseModel, Environment, Training, World
from wmvla.train.job import TrainingJob
from wmvla.train.loop import train
from wmvla.train.start import tiny_policy_fields
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import latents_path
from wmvla.world.latents.writer import write_latents
from wmvla.world.tiny_encoder import make_tiny_encoder

SIZE = 32
SENTENCE = "pick up the milk and place it in the basket"
EPISODES = (20, 13)
MODEL = BaseModel(
    source="tiny", text_hidden=32, text_layers=2, text_heads=2, text_key_value_heads=1, vision_hidden=32, vision_heads=2,
    chunk_size=4, num_denoising_steps=2,
)  # fmt: skip
WORLD = World(encoder="tiny", encoder_hidden=32, encoder_layers=1, encoder_heads=2)
ENVIRONMENT = Environment(suite="libero_object", tasks=(7,), image_size=SIZE, max_steps=8)
TRAINING = Training(
    steps=6,
    batch_size=4,
    learning_rate=1e-3,
    warmup_steps=2,
    image_shift=1,
    state_noise=0.01,
    log_every=1,
    save_every=2,
)


@dataclass(frozen=True)
class Toy:
    """Folders of the toy parts."""

    root: Path
    vlm: Path
    encoder: Path
    dataset: Path
    repo_id: str
    cache: Path

    @property
    def world(self) -> dict[str, object]:
        """Configuration fields of the world parts."""
        return {
            "dataset_repo_id": self.repo_id,
            "cache_dir": str(self.cache),
            "world_latent_dim": WORLD.encoder_hidden,
            "world_vision_model_name": str(self.encoder),
            "prophet_heads": 4,
            "world_inject_num_heads": 4,
        }

    def scratch_job(self, folder: Path, **changes: object) -> TrainingJob:
        """A training run from nothing."""
        fields = {
            "case": "base", "dataset_root": str(self.dataset), "dataset_repo_id": self.repo_id,
            "checkpoints": str(folder / "checkpoints"), "metrics": str(folder / "metrics.jsonl"), "seed": 0,
            "training": TRAINING, "scratch": tiny_policy_fields(MODEL, ENVIRONMENT, 2, self.vlm),
        }  # fmt: skip
        return TrainingJob(**{**fields, **changes})  # type: ignore[arg-type]


def write_toy_dataset(folder: Path, repo_id: str, size: int = SIZE) -> Path:
    """Two short episodes of noise images with smooth states, in LeRobot's format."""
    draws = np.random.default_rng(0)
    image = {"dtype": "image", "shape": (size, size, 3), "names": ["height", "width", "channel"]}
    dataset = LeRobotDataset.create(
        repo_id,
        fps=20,
        root=folder,
        use_videos=False,
        features={
            "observation.images.image": image,
            "observation.images.image2": image,
            "observation.state": {"dtype": "float32", "shape": (8,), "names": None},
            "action": {"dtype": "float32", "shape": (7,), "names": None},
        },
    )
    for length in EPISODES:
        for step in range(length):
            dataset.add_frame(
                {
                    "observation.images.image": draws.integers(0, 256, (size, size, 3), np.uint8),
                    "observation.images.image2": draws.integers(0, 256, (size, size, 3), np.uint8),
                    "observation.state": np.sin(step / 5 + np.arange(8)).astype(np.float32),
                    "action": draws.uniform(-1, 1, 7).astype(np.float32),
                    "task": SENTENCE,
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return folder


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Everything tiny, with latents already cached."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("toy")
    repo_id = "toy/noise"
    parts = Toy(
        root=root,
        vlm=make_tiny_vlm(root / "vlm", MODEL, SIZE, [SENTENCE]),
        encoder=make_tiny_encoder(root / "encoder", WORLD, SIZE),
        dataset=write_toy_dataset(root / "dataset", repo_id),
        repo_id=repo_id,
        cache=root / "cache",
    )
    frames = DatasetFrames(repo_id, parts.dataset, "front")
    write_latents(
        latents_path(parts.cache, repo_id, "vjepa", "m4"),
        frames,
        WorldEncoder(str(parts.encoder)),
        4,
    )
    return parts


@pytest.fixture(scope="session")
def base(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SmolVLA checkpoint of a few training steps."""
    return train(toy.scratch_job(tmp_path_factory.mktemp("base")))
