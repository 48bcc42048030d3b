"""The world encoder: the same frames give the same latents in the cache and in a rollout; models
are told apart."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BitImageProcessor,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)

from tests.wmvla.world.tiny_dinov2 import make_tiny_dinov2
from wmvla.data.frames import DatasetFrames
from wmvla.errors import UserError
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.stream import stream_latents
from wmvla.world.tiny_encoder import make_tiny_encoder

from ..conftest import EPISODES, SIZE, WORLD, Toy

WIDTH = WORLD.encoder_hidden
HISTORY = 4


@pytest.fixture(scope="module")
def vjepa(toy: Toy) -> WorldEncoder:
    return WorldEncoder(str(toy.encoder))


@pytest.fixture(scope="module")
def dino(tmp_path_factory) -> WorldEncoder:
    return WorldEncoder(
        str(make_tiny_dinov2(tmp_path_factory.mktemp("dino") / "encoder", WORLD, SIZE))
    )


@pytest.mark.parametrize("camera", ["front", "wrist", "both"])
@pytest.mark.parametrize(
    ("model", "window"), [("vjepa", 4), ("vjepa", 1), ("vjepa", 2), ("dino", 1)]
)
def test_the_same_frames_give_the_same_latents_in_cache_and_rollout(
    toy, request, model, window, camera
):
    """The cache reads bytes of the dataset; the rollout has floats of C cameras, and repeats an
    episode's first frame."""
    encoder = request.getfixturevalue(model)
    frames = DatasetFrames(toy.repo_id, toy.dataset, camera)
    count = sum(EPISODES)
    cached = torch.cat(
        [
            latents
            for _, latents in stream_latents(
                frames, encoder, window, [(0, 10), (10, 25), (25, count)]
            )
        ]
    )
    assert cached.dtype == torch.float32
    assert cached.shape == (count, WIDTH * len(frames.keys))
    seen = torch.stack(frames.read(0, count)).float() / 255
    rows = [(0, 0), (1, 0), (2, 0), (10, 0), (19, 0), (20, 20), (21, 20), (32, 20)]
    need = HISTORY + window - 1
    histories = torch.stack(
        [
            seen[:, [max(start, row - back) for back in range(need - 1, -1, -1)]]
            for row, start in rows
        ]
    )
    online = encoder.encode_windows(histories, window)
    assert online.shape == (len(rows), HISTORY, WIDTH * len(frames.keys))
    for (row, start), latents in zip(rows, online, strict=True):
        wanted = cached[[max(start, row - back) for back in range(HISTORY - 1, -1, -1)]]
        torch.testing.assert_close(latents, wanted, rtol=0, atol=1e-5)


def test_two_cameras_lie_side_by_side_front_first(toy, vjepa):
    latents = {}
    for camera in ("front", "wrist", "both"):
        frames = DatasetFrames(toy.repo_id, toy.dataset, camera)
        latents[camera] = next(stream_latents(frames, vjepa, 4, [(5, 8)]))[1]
    assert torch.equal(latents["both"], torch.cat([latents["front"], latents["wrist"]], dim=1))
    assert not torch.allclose(latents["front"], latents["wrist"], atol=1e-3)


def test_other_sizes_are_resized_and_cropped_as_the_models_processor_does(vjepa):
    frames = torch.randint(0, 256, (5, 3, 48, 80), dtype=torch.uint8)
    wanted = vjepa.processor(videos=[list(frames.numpy())], return_tensors="pt")[
        "pixel_values_videos"
    ][0]
    assert vjepa.preprocess(frames).shape == (5, 3, SIZE, SIZE)
    assert torch.equal(vjepa.preprocess(frames), wanted)
    assert torch.equal(vjepa.preprocess(frames.float() / 255), wanted)


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), 255.0, -1.0])
def test_floats_that_are_no_picture_are_refused(vjepa, pixel):
    frames = torch.rand(3, 3, SIZE, SIZE)
    frames[1, 2, 3, 4] = pixel
    with pytest.raises(FloatingPointError, match=r"not finite or not in \[0, 1\]"):
        vjepa.preprocess(frames)


def test_the_predictor_half_is_skipped(vjepa, monkeypatch):
    def forbidden(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the predictor ran")

    monkeypatch.setattr(vjepa.model.predictor, "forward", forbidden)
    assert vjepa.encode(torch.rand(2, 4, 3, SIZE, SIZE)).shape == (2, WIDTH)


def test_dinov2_is_pooled_over_its_patches(dino):
    clips = torch.rand(2, 1, 3, SIZE, SIZE)
    with torch.no_grad():
        tokens = dino.model(clips[:, 0]).last_hidden_state
    assert tokens.shape[1] == 1 + (SIZE // 16) ** 2
    torch.testing.assert_close(dino.encode(clips), tokens[:, 1:].mean(1))


def test_registers_are_no_patches(tmp_path):
    config = Dinov2WithRegistersConfig.from_dict(
        {
            "image_size": SIZE,
            "patch_size": 16,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
        }
    )
    Dinov2WithRegistersModel(config).save_pretrained(tmp_path)
    BitImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    ).save_pretrained(tmp_path)
    encoder = WorldEncoder(str(tmp_path))
    clips = torch.rand(1, 1, 3, SIZE, SIZE)
    with torch.no_grad():
        tokens = encoder.model(clips[:, 0]).last_hidden_state
    patches = (SIZE // 16) ** 2
    assert tokens.shape[1] == 1 + config.num_register_tokens + patches
    torch.testing.assert_close(encoder.encode(clips), tokens[:, -patches:].mean(1))


def test_a_window_that_the_model_would_not_see_whole_is_refused(vjepa, dino):
    with pytest.raises(
        ValueError,
        match=r"sees single frames, but the window is 4: set policy.latent_suffix to 'm1'",
    ):
        dino.check_window(4)
    with pytest.raises(ValueError, match="would drop the newest of a window of 3"):
        vjepa.encode_windows(torch.rand(1, 1, 6, 3, SIZE, SIZE), 3)


def test_the_newest_frame_counts(vjepa):
    clip = torch.rand(1, 4, 3, SIZE, SIZE)
    changed = clip.clone()
    changed[:, -1] += 1
    assert not torch.allclose(vjepa.encode(clip), vjepa.encode(changed), atol=1e-4)


def test_another_kind_of_model_is_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"is a bert, not one of vjepa2, dinov2, .*: set policy.world_vision_model_name",
    ):
        WorldEncoder(str(tmp_path))


def test_a_missing_model_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="neither a folder nor on the hub") as caught:
        WorldEncoder(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_weights_and_preprocessing_apart(toy, vjepa, tmp_path):
    assert WorldEncoder(str(toy.encoder)).fingerprint() == vjepa.fingerprint()
    other = WorldEncoder(str(make_tiny_encoder(tmp_path / "other", WORLD, SIZE)))
    assert other.fingerprint() == vjepa.fingerprint()  # the same seed
    other.processor.do_center_crop = False
    assert other.fingerprint() != vjepa.fingerprint()
    other = WorldEncoder(str(tmp_path / "other"))
    with torch.no_grad():
        next(other.model.parameters()).view(-1)[0] += 1e-3
    assert other.fingerprint() != vjepa.fingerprint()


def test_latents_are_those_of_the_frames_and_not_of_the_batch(toy, vjepa):
    frames = DatasetFrames(toy.repo_id, toy.dataset, "front")
    cuts = [(0, 7), (7, 8), (8, 33)]
    in_parts = torch.cat([latents for _, latents in stream_latents(frames, vjepa, 4, cuts)])
    whole = next(stream_latents(frames, vjepa, 4, [(0, 33)]))[1]
    np.testing.assert_allclose(in_parts.numpy(), whole.numpy(), atol=1e-5)


def test_an_encoder_that_is_not_whole_is_refused(toy, tmp_path):
    """transformers would fill in what is missing, with other numbers at every load."""
    for name, change, message in (
        ("prefix", lambda key: f"module.backbone.{key}", r"lack \d+ weights \(.*module\.backbone"),
        ("layer", lambda key: None if "encoder.layer.0" in key else key, r"lack \d+ weights \(enc"),
    ):
        folder = tmp_path / name
        shutil.copytree(toy.encoder, folder)
        weights = load_file(folder / "model.safetensors")
        named = {change(key): value for key, value in weights.items() if change(key)}
        save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UserError, match=message):
            WorldEncoder(str(folder))
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(UserError, match="is a Git LFS pointer"):
        WorldEncoder(str(folder))
