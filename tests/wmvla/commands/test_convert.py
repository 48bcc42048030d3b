"""The command line of the converter; what it writes is tested with ``wmvla.policy.conversion``."""

import json

import pytest

from wmvla.commands.convert import main


def test_a_smolvla_and_then_its_cache_elsewhere(base, world_flags, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(base), str(first), *world_flags, "--seed", "3"]) == 0
    assert f"{first}: smolvla_world, 2 cameras, latents of width 32" in capsys.readouterr().out
    assert main([str(first), str(second), "--policy.cache_dir", "elsewhere"]) == 0
    step = json.loads((second / "policy_preprocessor.json").read_text())["steps"][-1]
    assert step["config"]["path"].startswith("elsewhere/")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_missing_latents_are_told_in_one_line(base, world_flags, tmp_path, capsys):
    assert (
        main([str(base), str(tmp_path / "world"), *world_flags, f"--policy.cache_dir={tmp_path}"])
        == 0
    )
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "statistics" in line]
    assert f"because {tmp_path}" in line


def test_a_field_given_with_smolvlas_default_is_not_inherited(base, world_flags, tmp_path):
    """It can only be told from one left out by reading the command line."""
    world = tmp_path / "world"
    assert main([str(base), str(world), *world_flags, "--policy.freeze_vision_encoder=true"]) == 0
    assert json.loads((base / "config.json").read_text())["freeze_vision_encoder"] is False
    assert json.loads((world / "config.json").read_text())["freeze_vision_encoder"] is True


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--policy.no_such_field=1"], "unrecognized arguments: --policy.no_such_field=1"),
        (
            ["--policy.context_frames=four"],
            "--policy.context_frames: Couldn't parse 'four' into an int",
        ),
        (["--policy.world_camera=back"], "policy.world_camera = 'back' is unknown"),
        (["--policy.num_expert_layers=1"], "policy.num_expert_layers = 1 cannot be set"),
        (["--sed=3"], "unrecognized arguments: --sed=3"),
        (["--seed=three"], "--seed=three is not a whole number"),
        (["third"], "Give a source and a target"),
    ],
)
def test_mistakes_end_in_one_line(flags, line, base, world_flags, tmp_path, capsys):
    assert main([str(base), str(tmp_path / "world"), *flags, *world_flags]) == 2
    (printed,) = [
        text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")
    ]
    assert line in printed
    assert not (tmp_path / "world").exists()
