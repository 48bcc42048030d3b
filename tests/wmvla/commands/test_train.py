"""Stock ``lerobot-train`` trains a ``smolvla_world``; ``lerobot-wm-train`` takes the reference's
flags, refuses in one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from safetensors.torch import load_file

from tests.wmvla.policy import cases
from wmvla.commands.lerobot_main import joined
from wmvla.commands.train import lerobots_arguments, main
from wmvla.world.latents.cache import LatentCache, latents_path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command ends with."""
    assert main(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def stock_run(toy, base, world_flags, data_flags, tmp_path_factory) -> Path:
    """The output of stock lerobot-train, which finds the policy type by itself."""
    output = tmp_path_factory.mktemp("stock") / "run"
    command = [
        str(Path(sys.executable).parent / "lerobot-train"), "--policy.type=smolvla_world",
        f"--policy.init_from_policy_path={base}", *world_flags, *data_flags,
        f"--output_dir={output}", "--steps=3", "--save_freq=2",
    ]  # fmt: skip
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return output


def test_stock_training_starts_from_the_checkpoint_and_its_processors(stock_run, base, toy):
    folder = stock_run / "checkpoints" / "last" / "pretrained_model"
    before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    key = "model.state_proj.weight"
    assert 0 < (before[key] - after[key]).abs().max() < 1e-2
    mean, std = LatentCache(latents_path(toy.cache, toy.repo_id, "vjepa", "m4"), 4, 32).statistics()
    assert torch.equal(after["world_mean"], mean)
    assert torch.equal(after["world_std"], std)
    steps = [
        json.loads((place / "policy_preprocessor.json").read_text())["steps"]
        for place in (base, folder)
    ]
    assert steps[1][:-1] == steps[0]
    assert steps[1][-1]["registry_name"] == "world_latents"
    state = next(path.name for path in base.glob("policy_preprocessor_*normalizer*"))
    for name, value in load_file(base / state).items():
        assert torch.equal(load_file(folder / state)[name], value)


def test_stock_lerobot_loads_what_it_trained(stock_run):
    folder = stock_run / "checkpoints" / "000003" / "pretrained_model"
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder)
    saved = load_file(folder / "model.safetensors")
    for key, value in policy.state_dict().items():
        assert key not in saved or torch.equal(value, saved[key]), key
    make_pre_post_processors(config, str(folder))


def test_a_run_that_was_cut_off_continues(stock_run, base):
    """As LeRobot's does: from the last checkpoint, to the step that was asked for; the source is
    not needed any more."""
    config = stock_run / "checkpoints" / "000002" / "pretrained_model" / "train_config.json"
    assert str(base) not in config.read_text()
    assert main([f"--config_path={config}", "--resume=true", "--steps=4", "--save_freq=4"]) == 0
    assert (
        stock_run / "checkpoints" / "000004" / "pretrained_model" / "model.safetensors"
    ).is_file()


def test_the_rename_map_of_a_start_is_the_policys_and_flags_may_have_a_space(base):
    rename_map = '{"observation.images.front": "observation.images.image"}'
    arguments = [
        "--policy.type",
        "smolvla_world",
        "--policy.init_from_policy_path",
        str(base),
        "--rename_map",
        rename_map,
    ]
    moved = lerobots_arguments(joined(arguments))
    assert moved == [
        "--policy.type=smolvla_world",
        f"--policy.init_from_policy_path={base}",
        f"--policy.init_rename_map={rename_map}",
    ]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--polcy.x=3"], "unrecognized arguments: --polcy.x=3"),
        (["--policy.no_such_field=1"], "unrecognized arguments: --policy.no_such_field=1"),
        (
            ["--policy.context_frames=four"],
            "--policy.context_frames: Couldn't parse 'four' into an int",
        ),
        (["--policy.context_frames=0"], "policy.context_frames = 0 must be at least 1"),
        (
            ["--policy.world_memory_mode_train=perfect"],
            "policy.world_memory_mode_train = 'perfect' is unknown",
        ),
        (
            ["--policy.world_memory_mode_rollout=oracle"],
            "policy.world_memory_mode_rollout = 'oracle' is not possible",
        ),
        (["--policy.cache_dir"], "--policy.cache_dir: expected one argument"),
        (
            ["--policy.init_from_policy_path=/nowhere"],
            "/nowhere is neither a checkpoint folder nor a hub id",
        ),
        (["--policy.push_to_hub=true"], "'repo_id' argument missing"),
        (["--steps=many"], "`steps`: Couldn't parse 'many' into an int"),
    ],
)
def test_mistakes_end_in_one_line(flags, line, world_flags, data_flags, capsys):
    assert line in refused(
        ["--policy.type=smolvla_world", *world_flags, *data_flags, *flags], capsys
    )


def test_mistakes_beside_a_checkpoint_end_in_one_line(
    stock_run, base, data_flags, tmp_path, capsys
):
    checkpoint = stock_run / "checkpoints" / "last" / "pretrained_model"
    for flags, line in (
        (["--policy.path=/nowhere"], "/nowhere is neither"),
        (
            ["--policy.path", str(checkpoint), "--policy.no_such_field=1"],
            "unrecognized arguments: --policy.no_such_field=1",
        ),
        (
            [f"--policy.path={checkpoint}", "--policy.world_memory_mode_train=x"],
            "world_memory_mode_train = 'x' is unknown",
        ),
        ([f"--policy.path={checkpoint}", "--rename_map={"], "--rename_map={ is not JSON"),
        ([f"--policy.path={checkpoint}", '--rename_map={"a": "b"}'], "renames a to b"),
        (
            [f"--policy.path={checkpoint}", f"--output_dir={stock_run}"],
            f"Output directory {stock_run} already exists",
        ),
        (
            ["--config_path=/nowhere/train_config.json", "--resume=true"],
            "/nowhere/train_config.json",
        ),
        (["--policy.type=smolvla_wrld"], "invalid choice: 'smolvla_wrld'"),
    ):
        assert line in refused([*flags, *data_flags], capsys)


def test_latents_that_do_not_fit_stop_the_first_step_with_one_line(
    base, stock_run, world_flags, data_flags, tmp_path, capsys
):
    checkpoint = stock_run / "checkpoints" / "last" / "pretrained_model"
    start = ["--policy.type=smolvla_world", *world_flags, f"--policy.init_from_policy_path={base}"]
    for number, (flags, line) in enumerate(
        (
            ([*start, f"--policy.cache_dir={tmp_path}"], f"World latents are missing: {tmp_path}"),
            ([*start, "--policy.latent_suffix=m8"], "_m8.fp16.npy does not exist"),
            (
                [f"--policy.path={checkpoint}", f"--policy.cache_dir={tmp_path}"],
                f"asks for the latents {tmp_path}",
            ),
            (
                [f"--policy.path={checkpoint}", "--policy.world_inject_suffix_in=true"],
                "other policy.world_* fields",
            ),
            (
                [
                    "--policy.type=smolvla_world",
                    *world_flags,
                    f"--policy.pretrained_path={base}",
                    *smolvla_flags(base),
                ],
                "is a plain SmolVLA",
            ),
        )
    ):
        assert line in refused(
            [*flags, *data_flags, f"--output_dir={tmp_path / str(number)}"], capsys
        )


@pytest.mark.parametrize("case", [cases.missing_head, cases.tokenizer_elsewhere])
def test_a_checkpoint_that_is_not_whole_is_not_trained_on(case, base, data_flags, tmp_path, capsys):
    folder = cases.copy(base, tmp_path / "copy", case)
    flags = [f"--policy.path={folder}", *data_flags, f"--output_dir={tmp_path / 'out'}"]
    assert re.search(cases.REFUSED[case], refused(flags, capsys))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_stops_and_no_checkpoint_has_its_step(
    base, data_flags, tmp_path, capsys
):
    out = tmp_path / "out"
    flags = [
        f"--policy.path={base}", *data_flags, f"--output_dir={out}", "--steps=4", "--save_freq=1",
        "--policy.optimizer_lr=1e30", "--policy.optimizer_grad_clip_norm=0", "--policy.scheduler_warmup_steps=0",
    ]  # fmt: skip
    line = refused(flags, capsys)
    assert re.match(r"error: The (loss|gradient) is not finite at step 2 \((nan|inf)\)", line), line
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["000001", "last"]


def test_a_variable_that_divides_gradients_is_refused(base, data_flags, capsys, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert "divides every gradient by 4" in refused([f"--policy.path={base}", *data_flags], capsys)


def smolvla_flags(base: Path) -> list[str]:
    """The fields without which the toy's weights do not fit, for LeRobot does not inherit them."""
    config = PreTrainedConfig.from_pretrained(base)
    names = (
        "vlm_model_name",
        "num_vlm_layers",
        "chunk_size",
        "n_action_steps",
        "expert_width_multiplier",
    )
    return [f"--policy.{name}={getattr(config, name)}" for name in names]


def test_help_is_lerobots(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--policy.type=smolvla_world", "--help"])
    assert not ended.value.code
    assert "--policy.world_memory_mode_train" in capsys.readouterr().out
