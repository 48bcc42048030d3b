"""A hub cache with tiny models and a made-up dataset under the published names: ``python
tests/fake_hub.py HF_HOME``.

Everything is laid out as the hub's own cache has it, and the dataset with the faults that are told
of the published one.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

COMMIT = hashlib.sha1(b"made up").hexdigest()
DATASET, CHECKPOINT = "HuggingFaceVLA/libero", "HuggingFaceVLA/smolvla_libero"
LANGUAGE_MODEL, ENCODER = "HuggingFaceTB/SmolVLM2-500M-Instruct", "facebook/vjepa2-vitg-fpc64-256"
SIDE, FRAMES, EPISODES = 64, 16, 4
"""Pixels of what the tiny models see, frames of an episode, episodes; the dataset's images have 256
pixels, as published."""


def in_cache(home: Path, kind: str, repo_id: str, made: Path, commit: str = COMMIT) -> Path:
    """Move a folder to where the hub's cache has that repository; returns its snapshot."""
    repository = home / "hub" / f"{kind}s--{repo_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    return Path(shutil.move(made, repository / "snapshots" / commit))


def make_dataset(folder: Path, sentences: list[str]) -> Path:
    """Frames of noise, two episodes of each sentence, a file each; `dataset_to_index` counts from
    its file's first row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    image = {"dtype": "image", "shape": (256, 256, 3), "names": ["height", "width", "channel"]}
    features = {
        "observation.images.image": image,
        "observation.images.image2": image,
        "observation.state": {
            "dtype": "float32",
            "shape": (8,),
            "names": {"motors": ["state"] * 8},
        },
        "action": {"dtype": "float32", "shape": (7,), "names": {"motors": ["action"] * 7}},
    }
    dataset = LeRobotDataset.create(
        DATASET, 10, features, root=folder, robot_type="panda", use_videos=False
    )
    dataset.meta.update_chunk_settings(data_files_size_in_mb=1)
    draws = np.random.default_rng(0)
    for episode in range(EPISODES):
        for frame in range(FRAMES + episode):
            images = {
                f"observation.images.{name}": draws.integers(0, 255, (256, 256, 3), np.uint8)
                for name in ("image", "image2")
            }
            state, action = (draws.normal(size=size).astype(np.float32) for size in (8, 7))
            action[6] = -1 if frame == 0 else action[6]  # the hand begins open
            dataset.add_frame(
                {
                    **images,
                    "observation.state": state,
                    "action": action,
                    "task": sentences[episode % len(sentences)],
                }
            )
        dataset.save_episode()
    dataset.finalize()
    for file in folder.glob("meta/episodes/*/*.parquet"):
        table = pq.read_table(file)
        lengths = table["length"].to_pylist()
        for key, values in (
            ("dataset_from_index", [0] * len(lengths)),
            ("dataset_to_index", lengths),
        ):
            table = table.set_column(
                table.column_names.index(key), key, pa.array(values, pa.int64())
            )
        pq.write_table(table, file)
    return folder


def make_checkpoint(folder: Path, dataset: Path) -> Path:
    """A SmolVLA around the language model in the cache, with the fields that the published one is
    told to have."""
    from lerobot.datasets import LeRobotDatasetMetadata

    from wmvla.train.start import from_scratch

    fields = {
        "vlm_model_name": LANGUAGE_MODEL,
        "load_vlm_weights": True,
        "num_expert_layers": -1,
        "num_vlm_layers": 0,
        "self_attn_every_n_layers": 0,
        "expert_width_multiplier": 0.5,
        "pad_language_to": "longest",
        "chunk_size": 50,
        "n_action_steps": 1,
        "resize_imgs_with_padding": [SIDE, SIDE],
    }
    policy, processors = from_scratch(
        fields, LeRobotDatasetMetadata(DATASET, root=dataset), 0, "cpu"
    )
    for part in (policy, *processors):
        part.save_pretrained(folder)
    return folder


def make(home: Path, sentences: list[str]) -> None:
    """Fill the cache below ``home``, the HF_HOME of this process."""
    from wmvla.policy.tiny_vlm import make_tiny_vlm
    from wmvla.recipe import BaseModel, World
    from wmvla.world.tiny_encoder import make_tiny_encoder

    scratch = home / "scratch"
    scratch.mkdir(parents=True)
    in_cache(
        home,
        "model",
        LANGUAGE_MODEL,
        make_tiny_vlm(scratch / "vlm", BaseModel(source="tiny"), SIDE, sentences),
    )
    in_cache(
        home, "model", ENCODER, make_tiny_encoder(scratch / "encoder", World(encoder="tiny"), SIDE)
    )
    dataset = in_cache(home, "dataset", DATASET, make_dataset(scratch / "dataset", sentences))
    in_cache(home, "model", CHECKPOINT, make_checkpoint(scratch / "checkpoint", dataset))


if __name__ == "__main__":
    assert os.environ["HF_HOME"] == sys.argv[1], "huggingface_hub reads HF_HOME when it is imported"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    from wmvla.recipe import Environment
    from wmvla.sim.suites import prepare, sentence

    spatial = Environment(suite="libero_spatial", tasks=(0, 1), image_size=SIDE, max_steps=1)
    prepare(spatial)
    make(Path(sys.argv[1]), [sentence(spatial, task) for task in spatial.tasks])
