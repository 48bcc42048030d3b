"""Stock ``lerobot-eval`` plays a ``smolvla_world``; ``lerobot-wm-eval`` takes the reference's flags and refuses in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors

from wmvla.commands.convert import main as convert
from wmvla.commands.eval import lerobots_arguments, main
from wmvla.commands.lerobot_main import joined
from wmvla.policy.conversion import load_policy
from wmvla.sim.libero.assets import prepare_libero

from ..conftest import MODEL, SIZE

ENVIRONMENT = [
    "--env.type=libero", "--env.task=libero_object", "--env.task_ids=[7]", "--env.episode_length=3",
    f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}",
    "--eval.n_episodes=1", "--eval.batch_size=1", "--eval.use_async_envs=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(base, world_flags, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("eval") / "world"
    assert convert([str(base), str(folder), *world_flags, "--policy.device=cpu"]) == 0
    return folder


def test_stock_lerobot_eval_plays_an_episode(checkpoint, tmp_path):
    prepare_libero()  # writes the configuration that LIBERO would ask for, and sets its place and the renderer's name
    command = [
        str(Path(sys.executable).parent / "lerobot-eval"), f"--policy.path={checkpoint}", f"--output_dir={tmp_path / 'out'}",
        "--policy.world_memory_mode_rollout=hold", *ENVIRONMENT,
    ]  # fmt: skip
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=offline)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "'world_memory_mode_rollout': 'hold'" in ended.stderr + ended.stdout
    assert json.loads((tmp_path / "out" / "eval_info.json").read_text())["overall"]["n_episodes"] == 1


def test_environments_of_one_batch_do_not_see_each_other(checkpoint):
    """What stock evaluation does with ``--eval.batch_size``: every step one batch of all environments, then a reset."""
    policy = load_policy(checkpoint, {"n_action_steps": 2})
    with torch.no_grad():
        for name, gate in policy.named_parameters():
            if name.endswith("gate"):
                gate.fill_(0.5)
    preprocessor, _ = make_pre_post_processors(policy.config, str(checkpoint))
    draws = torch.Generator().manual_seed(0)
    cameras = list(policy.config.image_features)
    steps = [
        {
            **{key: torch.rand(2, 3, SIZE, SIZE, generator=draws) for key in cameras},
            "observation.state": torch.rand(2, 8, generator=draws),
            "task": ["pick up the milk", "open the drawer"],
        }
        for _ in range(5)
    ]
    noise = torch.randn(2, MODEL.chunk_size, policy.config.max_action_dim, generator=draws)

    def play(rows: slice) -> torch.Tensor:
        policy.reset()
        return torch.stack(
            [policy.select_action(preprocessor({k: v[rows] for k, v in step.items()}), noise[rows]) for step in steps], 1
        )

    together = play(slice(0, 2))
    assert torch.allclose(together[:1], play(slice(0, 1)), atol=1e-5)
    assert torch.allclose(together[1:], play(slice(1, 2)), atol=1e-5)
    assert torch.equal(together, play(slice(0, 2)))
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_references_flags_become_lerobots(checkpoint):
    front = "observation.images.image"
    given = ["--policy.type", "smolvla_world", "--policy.pretrained_path", str(checkpoint), "--policy.use_amp", "true"]
    renamed = ["--rename_map", json.dumps({front: "observation.images.camera1", "observation.images.top": front})]
    assert lerobots_arguments(joined([*given, *renamed])) == [
        "--policy.use_amp=true",
        f'--rename_map={{"observation.images.top": "{front}"}}',
        f"--policy.path={checkpoint}",
    ]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--policy.world_memory_mode_rollout=oracle"], "the future is not known yet"),
        (["--policy.world_memory_mode_rollout=shuffle"], "policy.world_memory_mode_rollout = 'shuffle' is not possible"),
        (["--policy.world_memory_mode_rollout", "perfect"], "'perfect' is unknown: choose pred"),
        (["--policy.n_action_steps=ten"], "--policy.n_action_steps: Couldn't parse 'ten' into an int"),
        (["--policy.no_such_field=1"], "unrecognized arguments: --policy.no_such_field=1"),
        (["--policy.type=smolvla"], "is a smolvla_world checkpoint, but --policy.type is smolvla"),
        (["--env.type=libreo"], "invalid choice: 'libreo'"),
        (["--env.task=libero_nothing"], "Unknown LIBERO suite 'libero_nothing'"),
        (["--policy.path=/nowhere"], "/nowhere is neither a checkpoint folder nor a hub id"),
        (["--policy.path="], "Which checkpoint?"),
    ],
)
def test_mistakes_end_in_one_line(flags, line, checkpoint, tmp_path, capsys):
    assert main([f"--policy.path={checkpoint}", *ENVIRONMENT, f"--output_dir={tmp_path / 'out'}", *flags]) == 2
    (printed,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert line in printed
