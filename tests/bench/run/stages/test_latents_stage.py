"""The latents stage: a cache that fits is used, and one that does not is made again only where this
code can have made it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lerobot.datasets import LeRobotDataset

from bench.plan.cases import Case
from bench.run.stages import latents
from bench.run.stages.context import Context
from wmvla.recipe import Demonstrations, Environment, World
from wmvla.world.latents.cache import LatentCache, latents_path, metadata_path

CASE = SimpleNamespace(id="latents")
EPISODES = (9, 6)
SIZE = 32
WORLD = World(encoder="tiny", encoder_hidden=32, encoder_layers=1, encoder_heads=2)
ENVIRONMENT = Environment(suite="libero_object", tasks=(7,), image_size=SIZE, max_steps=8)


def write_demonstrations(folder: Path, repo_id: str) -> None:
    """Two short episodes of noise, seen by two cameras."""
    image = {"dtype": "image", "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channel"]}
    features = {"observation.images.image": image, "observation.images.image2": image}
    for key in ("observation.state", "action"):
        features[key] = {"dtype": "float32", "shape": (7,), "names": None}
    made = LeRobotDataset.create(repo_id, fps=20, root=folder, use_videos=False, features=features)
    draws = np.random.default_rng(0)
    for length in EPISODES:
        for _ in range(length):
            seen = {
                key: draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for key in list(features)[:2]
            }
            still = dict.fromkeys(("observation.state", "action"), np.zeros(7, np.float32))
            made.add_frame({**seen, **still, "task": "wait"})
        made.save_episode()
    made.finalize()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A run whose demonstrations are there."""
    demonstrations = Demonstrations(repo_id="toy/noise", source="expert")
    recipe = SimpleNamespace(environment=ENVIRONMENT, demonstrations=demonstrations, world=WORLD)
    plan = SimpleNamespace(recipe=recipe, machine=SimpleNamespace(accelerator="cpu"))
    made = Context(plan, tmp_path / "results" / "run", lambda _: None)
    assert made.dataset_root is not None
    write_demonstrations(made.dataset_root, made.dataset_repo_id)
    return made


def of_camera(context: Context, camera: str) -> Context:
    recipe = SimpleNamespace(
        **{**vars(context.plan.recipe), "world": replace(WORLD, camera=camera)}
    )
    return replace(context, plan=SimpleNamespace(**{**vars(context.plan), "recipe": recipe}))


def run(context: Context) -> Path:
    case: Case = CASE
    figures = latents.run(context, case)
    assert figures["rows"] == sum(EPISODES)
    return figures["artefacts"]["latents"]


def test_latents_are_made_once(context):
    path = run(context)
    assert path == latents_path(
        context.cache, context.dataset_repo_id, context.latents_source, "m4"
    )
    LatentCache(path, 4, WORLD.encoder_hidden, "front")
    made = path.stat().st_mtime_ns
    assert run(context) == path
    assert path.stat().st_mtime_ns == made


def test_both_cameras_have_a_file_of_their_own(context):
    path = run(of_camera(context, "both"))
    assert path.name.endswith("_m4_both.fp16.npy")
    LatentCache(path, 4, 2 * WORLD.encoder_hidden, "both")


@pytest.mark.parametrize("damage", ["old metadata", "no metadata", "truncated"])
def test_a_tiny_encoders_latents_that_do_not_fit_are_made_again(context, damage):
    path = run(context)
    right = path.read_bytes()
    if damage == "old metadata":
        metadata_path(path).write_text(
            '{"rows": 33, "width": 32, "window": 4, "encoder_weights": "862f0cc7ee5ca98c"}'
        )
    elif damage == "no metadata":
        metadata_path(path).unlink()
    else:
        path.write_bytes(right[:-100])
    run(context)
    assert path.read_bytes() == right
    LatentCache(path, 4, WORLD.encoder_hidden, "front")


def test_the_users_own_latents_are_never_made_again(context, monkeypatch):
    """At full scale the encoder is a hub's, and the cache may be a file that somebody brought."""
    path = run(context)
    brought = path.read_bytes()
    metadata_path(path).unlink()
    folder, source = context.encoder_name, context.latents_source
    monkeypatch.setattr(Context, "latents_source", source)
    recipe = SimpleNamespace(
        **{**vars(context.plan.recipe), "world": replace(WORLD, encoder=folder)}
    )
    users = replace(context, plan=SimpleNamespace(**{**vars(context.plan), "recipe": recipe}))
    with pytest.raises(ValueError, match="has no metadata: run `lerobot-wm-latents --check`"):
        run(users)
    assert path.read_bytes() == brought
