"""A SmolVLA checkpoint becomes a ``smolvla_world`` one: same actions, same loss, same processors;
and what is refused."""

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from safetensors.torch import load_file, save_file

from wmvla.data.dataset import open_data
from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.conversion import (
    convert,
    load_policy,
    load_with_processors,
    rename_cameras,
    rewrite,
)
from wmvla.policy.inheritance import OF_THE_RUN
from wmvla.policy.modeling_smolvla_world import FRAMES
from wmvla.policy.processor_smolvla_world import LATENTS_PATH
from wmvla.world.latents.cache import LatentCache, latents_path

from ..conftest import MODEL, SIZE
from . import cases

FRONT = "observation.images.image"


@pytest.fixture(scope="module")
def raw(toy):
    data = open_data(toy.dataset, toy.repo_id, MODEL.chunk_size)
    return next(data.batches([np.array([0, 5, 19, 20, 31, 32])]))


@pytest.fixture
def config(toy, base):
    def made(**changes):
        return SmolVLAWorldConfig(
            **{**toy.world, "init_from_policy_path": str(base), "device": "cpu", **changes}
        )

    return made


def stock(folder):
    """Policy and processors as stock LeRobot loads them."""
    settings = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(settings.type).from_pretrained(folder)
    return policy, *make_pre_post_processors(policy.config, str(folder))


def test_stock_lerobot_loads_the_same_actions_loss_and_processors(config, base, raw, tmp_path):
    assert convert(config(), tmp_path / "world", seed=1)
    plain, before, after = stock(base)
    world, world_before, world_after = stock(tmp_path / "world")

    batch, world_batch = before(dict(raw)), world_before(dict(raw))
    for key, value in batch.items():
        same = (
            torch.equal(value, world_batch[key])
            if isinstance(value, torch.Tensor)
            else value == world_batch[key]
        )
        assert same, key
    actions = torch.randn(3, 7)
    assert torch.equal(after(actions), world_after(actions))

    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(6, MODEL.chunk_size, plain.config.max_action_dim, generator=draws)
    time = torch.rand(6, generator=draws)
    plain.train(), world.train()
    plain_loss, _ = plain(batch, noise, time, "none")
    _, details = world(world_batch, noise, time, "none")
    assert torch.equal(plain_loss, details["action_loss_per_sample"])
    frames = torch.rand(6, 1, world.config.world_frames, 3, SIZE, SIZE)
    plain.eval()
    chunk = world.predict_action_chunk({**world_batch, FRAMES: frames}, noise)
    assert torch.equal(plain.predict_action_chunk(batch, noise), chunk)


def test_every_field_of_smolvla_is_inherited_and_nothing_depends_on_the_source(
    config, base, toy, tmp_path
):
    source = tmp_path / "source"
    shutil.copytree(base, source)
    convert(config(init_from_policy_path=str(source)), tmp_path / "world", seed=1)
    shutil.rmtree(source)
    world, plain = (
        PreTrainedConfig.from_pretrained(folder) for folder in (tmp_path / "world", base)
    )
    for field in fields(SmolVLAConfig):
        assert field.name in OF_THE_RUN or getattr(world, field.name) == getattr(
            plain, field.name
        ), field.name
    assert plain.chunk_size != SmolVLAConfig().chunk_size
    assert str(source) not in (tmp_path / "world" / "config.json").read_text()
    policy, _, _ = stock(tmp_path / "world")
    expected = LatentCache(latents_path(toy.cache, toy.repo_id, "vjepa", "m4"), 4, 32).statistics()
    assert torch.equal(policy.world_mean, expected[0])


def test_the_seed_makes_the_world_parts(config, tmp_path, caplog):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        convert(config(), tmp_path / name, seed)
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    prophet = next(
        key for key, value in weights[0].items() if key.startswith("prophet.") and value.ndim == 2
    )
    assert torch.equal(weights[0][prophet], weights[1][prophet])
    assert not torch.equal(weights[0][prophet], weights[2][prophet])
    assert "lacks" not in caplog.text


def test_without_a_cache_the_statistics_wait_for_training(config, toy, raw, tmp_path):
    cache = tmp_path / "later"
    assert not convert(config(cache_dir=str(cache)), tmp_path / "world", seed=1)
    policy, preprocessor, _ = stock(tmp_path / "world")
    with pytest.raises(UserError, match="latents are missing"):
        preprocessor(dict(raw))
    shutil.copytree(toy.cache, cache)
    policy.train()
    policy(preprocessor(dict(raw)))
    expected = LatentCache(latents_path(cache, toy.repo_id, "vjepa", "m4"), 4, 32).statistics()
    assert torch.equal(policy.world_mean, expected[0])


def test_raw_latents_need_no_statistics(config, raw, tmp_path):
    assert convert(config(world_standardise=False), tmp_path / "world", seed=1)
    policy, preprocessor, _ = stock(tmp_path / "world")
    policy(preprocessor(dict(raw)))
    assert not policy.world_mean.any()
    assert (policy.world_std == 1).all()


def test_a_cache_elsewhere_is_refused_until_the_checkpoint_is_written_again(
    config, toy, raw, tmp_path
):
    convert(config(), tmp_path / "world", seed=1)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(toy.cache, elsewhere)
    moved = PreTrainedConfig.from_pretrained(
        tmp_path / "world", cli_overrides=[f"--cache_dir={elsewhere}"]
    )
    policy = get_policy_class("smolvla_world").from_pretrained(tmp_path / "world", config=moved)
    _, (preprocessor, _) = load_with_processors(tmp_path / "world", "cpu")
    with pytest.raises(UserError, match=f"asks for the latents {elsewhere}.*lerobot-wm-convert"):
        policy(preprocessor(dict(raw)))

    rewrite(moved, tmp_path / "world", tmp_path / "again")
    policy, preprocessor, _ = stock(tmp_path / "again")
    batch = preprocessor(dict(raw))
    assert batch[LATENTS_PATH].startswith(str(elsewhere))
    policy(batch)


def test_another_horizon_than_the_processors_is_refused(config, raw, tmp_path):
    convert(config(), tmp_path / "world", seed=1)
    policy, preprocessor, _ = stock(tmp_path / "world")
    policy.config.future_offset = 4
    with pytest.raises(UserError, match=r"4 past and 8 future latents.*ask for 4, 4"):
        policy(preprocessor(dict(raw)))


def test_images_get_the_names_of_the_data(config, raw, tmp_path):
    convert(config(init_rename_map={"observation.images.front": FRONT}), tmp_path / "world", seed=1)
    convert(config(), tmp_path / "plain", seed=1)
    policy, preprocessor, _ = stock(tmp_path / "world")
    plain, plain_preprocessor, _ = stock(tmp_path / "plain")
    assert policy.config.world_camera_keys == ("observation.images.front",)
    renamed = {
        key.replace(FRONT, "observation.images.front") if key == FRONT else key: value
        for key, value in raw.items()
    }
    noise, time = torch.randn(6, MODEL.chunk_size, 32), torch.rand(6)
    losses = [
        policy(preprocessor(renamed), noise, time, "none")[0],
        plain(plain_preprocessor(dict(raw)), noise, time, "none")[0],
    ]
    assert torch.equal(*losses)


def test_the_rename_map_that_a_checkpoint_was_trained_with_is_kept_as_names(config, base, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(base, source)
    file = source / "policy_preprocessor.json"
    processor = json.loads(file.read_text())
    processor["steps"][0]["config"]["rename_map"] = {"observation.images.top": FRONT}
    file.write_text(json.dumps(processor))
    made = config(init_from_policy_path=str(source))
    assert list(made.image_features) == ["observation.images.top", "observation.images.image2"]
    convert(made, tmp_path / "world", seed=1)
    steps = json.loads((tmp_path / "world" / file.name).read_text())["steps"]
    assert steps[0]["config"]["rename_map"] == {}
    assert "observation.images.top" in steps[5]["config"]["features"]


def test_a_copy_asks_for_the_datas_names_and_acts_alike(base, raw, tmp_path):
    """What a suite's ``rename_map`` makes of a published checkpoint."""
    source = cases.copy(base, tmp_path / "source", cases.official_style)
    numbers = {
        f"observation.images.{name}": f"observation.images.camera{number}"
        for name, number in (("image", 1), ("image2", 2))
    }
    rename_cameras(source, tmp_path / "copy", numbers)
    policy, (preprocessor, _) = load_with_processors(tmp_path / "copy", "cpu")
    plain, (plain_preprocessor, _) = load_with_processors(base, "cpu")
    assert list(policy.config.image_features)[:2] == list(plain.config.image_features)
    observed = {key: value for key, value in raw.items() if "action" not in key}
    noise = torch.randn(6, MODEL.chunk_size, 32)
    chunks = [
        model.predict_action_chunk(process(dict(observed)), noise)
        for model, process in ((policy, preprocessor), (plain, plain_preprocessor))
    ]
    assert torch.equal(*chunks)


def test_a_hub_id_is_read_from_the_local_cache(config, base, tmp_path, monkeypatch):
    """A made-up snapshot in the Hub's own layout; the Hub itself is not asked."""
    commit = "0" * 40
    repository = tmp_path / "hub" / "models--owner--smolvla"
    shutil.copytree(base, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert convert(config(init_from_policy_path="owner/smolvla"), tmp_path / "world", seed=1)
    assert torch.equal(
        *(
            load_file(folder / "model.safetensors")["model.state_proj.weight"]
            for folder in (base, tmp_path / "world")
        )
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_state_dim": 16}, "max_state_dim = 16 cannot be set.*32"),
        ({"num_vlm_layers": 1}, "num_vlm_layers = 1 cannot be set.*2"),
        ({"init_rename_map": {"a": "b"}}, "rename_map renames to b"),
        ({"init_rename_map": {"observation.images.image2": FRONT}}, "two features the same name"),
        ({"init_from_policy_path": "/nowhere"}, "/nowhere is neither"),
    ],
)
def test_what_cannot_be_inherited_is_refused(config, changes, message):
    with pytest.raises(UserError, match=message):
        config(**changes)


def test_sources_that_are_no_complete_smolvla_are_refused(config, base, tmp_path, caplog):
    def spoiled(name, change):
        folder = tmp_path / name
        shutil.copytree(base, folder)
        change(folder)
        return {"init_from_policy_path": str(folder)}

    def weights(change):
        def written(folder):
            loaded = load_file(folder / "model.safetensors")
            change(loaded)
            save_file(loaded, folder / "model.safetensors")

        return written

    key = "model.state_proj.weight"
    for name, change, message in (
        ("lacking", weights(lambda loaded: loaded.pop(key)), f"lacks {key}"),
        (
            "unknown",
            weights(lambda loaded: loaded.update(extra=torch.ones(1))),
            "policy has not, extra",
        ),
        (
            "shapes",
            weights(lambda loaded: loaded.update({key: torch.ones(2, 2)})),
            f"{key} is \\(2, 2\\)",
        ),
        (
            "cut",
            lambda folder: (folder / "model.safetensors").write_bytes(b"cut"),
            "cannot be read",
        ),
        ("no_weights", lambda folder: (folder / "model.safetensors").unlink(), "does not exist"),
        (
            "no_processors",
            lambda folder: (folder / "policy_preprocessor.json").unlink(),
            "migrate_policy_normalization",
        ),
        (
            "no_postprocessor",
            lambda folder: (folder / "policy_postprocessor.json").unlink(),
            "policy_postprocessor.json",
        ),
        (
            "other",
            lambda folder: (folder / "config.json").write_text('{"type": "act"}'),
            "is a act checkpoint",
        ),
        (
            "no_json",
            lambda folder: (folder / "config.json").write_text("{"),
            "config.json cannot be read",
        ),
        ("empty", lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    ):
        with pytest.raises(UserError, match=message):
            convert(config(**spoiled(name, change)), tmp_path / f"{name}-world", seed=1)
        assert not (tmp_path / f"{name}-world").exists()

    loose = spoiled("loose", weights(lambda loaded: loaded.pop(key)))
    convert(config(**loose, init_from_strict=False), tmp_path / "loose-world", seed=1)
    assert "lacks 1 of SmolVLA's weights and has 0 unknown ones" in caplog.text


def test_a_finished_folder_is_not_written_over(config, tmp_path):
    convert(config(), tmp_path / "world", seed=1)
    with pytest.raises(UserError, match="exists already"):
        convert(config(), tmp_path / "world", seed=1)
    with pytest.raises(UserError, match="smolvla_world checkpoint already"):
        config(init_from_policy_path=str(tmp_path / "world"))


def test_a_plain_smolvla_as_pretrained_path_is_refused(config, base):
    """LeRobot itself would load it without a word and train without a world loss."""
    made = config()
    made.init_from_policy_path = ""
    with pytest.raises(UserError, match=r"plain SmolVLA.*init_from_policy_path"):
        get_policy_class("smolvla_world").from_pretrained(base, config=made)


def test_a_checkpoint_of_another_version_is_one_line(config, tmp_path):
    world = tmp_path / "world"
    convert(config(), world, seed=1)
    fields = json.loads((world / "config.json").read_text())
    (world / "config.json").write_text(json.dumps({**fields, "world_temporal_window": 2}))
    with pytest.raises(
        UserError,
        match=r"config\.json does not fit this program's smolvla_world.*world_temporal_window",
    ):
        load_policy(world)
