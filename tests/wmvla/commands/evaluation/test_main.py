"""Stock ``lerobot-eval`` and our ``lerobot-wm-eval`` play a ``smolvla_world`` in LIBERO; mistakes
end in one line."""

import json
from pathlib import Path

import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors

from tests.forked import Forked, run_module
from tests.wmvla.conftest import MODEL, SIZE
from tests.wmvla.policy import cases
from wmvla.commands.convert import main as convert
from wmvla.commands.evaluation.flags import EvalConfig, lerobots_arguments
from wmvla.commands.evaluation.main import main
from wmvla.commands.evaluation.settings import settings_of
from wmvla.commands.lerobot_main import joined, parse
from wmvla.commands.train import lerobots_arguments as train_arguments
from wmvla.errors import UserError
from wmvla.policy.conversion import load_policy
from wmvla.policy.weights import checkpoint_folder
from wmvla.sim.libero.assets import prepare_libero

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


@pytest.fixture(scope="module")
def stock_info(checkpoint, tmp_path_factory) -> dict:
    """What stock ``lerobot-eval`` writes of an episode."""
    out = tmp_path_factory.mktemp("stock")
    prepare_libero()  # writes the configuration that LIBERO would ask for, and sets its place and the renderer's name
    child = Forked(
        run_module(
            "lerobot.scripts.lerobot_eval", f"--policy.path={checkpoint}", f"--output_dir={out}",
            "--policy.world_memory_mode_rollout=hold", *ENVIRONMENT,
        )
    )  # fmt: skip
    printed, errors = child.communicate()
    assert child.returncode == 0, errors[-3000:]
    assert "'world_memory_mode_rollout': 'hold'" in errors + printed
    return json.loads((out / "eval_info.json").read_text())


def shape(info: object) -> object:
    """Names and types, without the numbers, and lists by their first entry."""
    if isinstance(info, dict):
        return {key: shape(value) for key, value in info.items()}
    return [shape(value) for value in info[:1]] if isinstance(info, list) else type(info)


def episodes(out: Path) -> list[dict]:
    """All recorded episodes in the table's order, without what differs from one playing to the
    next."""
    lines = [
        json.loads(line)
        for file in out.glob("episodes*.jsonl")
        for line in file.read_text().splitlines()
    ]
    times = ("seconds", "cpu_seconds")
    return sorted(
        ({k: v for k, v in line.items() if k not in times} for line in lines),
        key=lambda line: line["index"],
    )


def test_shards_then_the_whole_write_lerobots_summary(
    checkpoint, stock_info, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    command = [
        f"--policy.path={checkpoint}", "--policy.world_memory_mode_rollout=hold", *ENVIRONMENT, "--eval.n_episodes=2",
        f"--output_dir={out}", "--workers=1",
    ]  # fmt: skip
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*command, "--videos=1"]) == 0
    assert "Shard 2/2 is done" in capsys.readouterr().out
    assert not (out / "eval_info.json").exists()
    (second,) = episodes(out)
    assert (second["init"], second["env_seed"], second["steps"], second["status"]) == (
        1,
        1001,
        3,
        "ok",
    )

    monkeypatch.delenv("RANK")
    assert main([*command, "--videos=1"]) == 0
    info = json.loads((out / "eval_info.json").read_text())
    film = out / "videos" / "libero_object_7" / "eval_episode_0.mp4"
    assert info["overall"]["video_paths"] == [str(film)]
    assert film.stat().st_size > 0
    assert info.pop("not_played") == []
    assert shape(info) == shape(stock_info)
    assert info["overall"]["n_episodes"] == 2
    first, second_again = episodes(out)
    assert second_again == second
    assert (first["index"], first["init"], first["env_seed"]) == (0, 0, 1000)
    assert first["noise_seed"] != second["noise_seed"]
    assert f"{out}/eval_info.json" in capsys.readouterr().out

    assert main(command) == 0
    assert episodes(out) == [first, second]
    assert json.loads((out / "eval_info.json").read_text())["per_task"] == info["per_task"]

    assert main([*command, "--policy.world_memory_mode_rollout=zero"]) == 2
    (printed,) = [
        text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")
    ]
    assert 'policy.world_memory_mode_rollout was "hold", now "zero"' in printed


def test_environments_of_one_batch_do_not_see_each_other(checkpoint):
    """What stock evaluation does with ``--eval.batch_size``: every step one batch of all
    environments, then a reset."""
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
            [
                policy.select_action(
                    preprocessor({k: v[rows] for k, v in step.items()}), noise[rows]
                )
                for step in steps
            ],
            1,
        )

    together = play(slice(0, 2))
    assert torch.allclose(together[:1], play(slice(0, 1)), atol=1e-5)
    assert torch.allclose(together[1:], play(slice(1, 2)), atol=1e-5)
    assert torch.equal(together, play(slice(0, 2)))
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_references_flags_become_lerobots(checkpoint):
    front = "observation.images.image"
    given = [
        "--policy.type",
        "smolvla_world",
        "--policy.pretrained_path",
        str(checkpoint),
        "--policy.use_amp",
        "true",
    ]
    renamed = [
        "--rename_map",
        json.dumps({front: "observation.images.camera1", "observation.images.top": front}),
    ]
    assert lerobots_arguments(joined([*given, *renamed])) == [
        "--policy.use_amp=true",
        f'--rename_map={{"observation.images.top": "{front}"}}',
        f"--policy.path={checkpoint}",
    ]


def test_the_revision_that_is_asked_for_is_played_and_recorded_by_its_commit(
    checkpoint, tmp_path, monkeypatch
):
    """A made-up repository in the hub's own layout; its newest commit is another one."""
    repository = tmp_path / "hub" / "models--owner--policy"
    commits = {"main": "b" * 40, "v1": "a" * 40}
    (repository / "refs").mkdir(parents=True)
    for name, commit in commits.items():
        (repository / "refs" / name).write_text(commit)
        cases.copy(checkpoint, repository / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for flags, commit in (
        (["--policy.pretrained_revision=v1"], "a" * 40),
        ([f"--policy.pretrained_revision={'a' * 40}"], "a" * 40),
        ([], "b" * 40),
    ):
        arguments = lerobots_arguments(["--policy.path=owner/policy", *flags])
        assert arguments == [f"--policy.path={repository / 'snapshots' / commit}"]
        assert train_arguments(["--policy.path=owner/policy", *flags]) == arguments
        config = parse(EvalConfig, [*arguments, *ENVIRONMENT, "--policy.device=cpu"], "test")
        folder = checkpoint_folder(str(config.policy.pretrained_path))
        assert settings_of(config, folder)["checkpoint_commit"] == commit
    with pytest.raises(UserError, match="owner/policy at v2 is neither"):
        lerobots_arguments(["--policy.path=owner/policy", "--policy.pretrained_revision=v2"])
    with pytest.raises(UserError, match="is a folder, which has no revisions"):
        lerobots_arguments([f"--policy.path={checkpoint}", "--policy.pretrained_revision=v1"])


def test_a_swap_is_kept_and_a_name_of_nothing_refused(checkpoint, base, capsys):
    front, wrist = "observation.images.image", "observation.images.image2"
    swap = f"--rename_map={json.dumps({front: wrist, wrist: front})}"
    for folder in (checkpoint, base):
        assert swap in lerobots_arguments([f"--policy.path={folder}", swap])
    other = f"--rename_map={json.dumps({front: 'observation.images.camera1'})}"
    assert lerobots_arguments([f"--policy.path={checkpoint}", other])[:-1] == []
    assert f"asks for {front} itself: not renamed" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"renames .*image to .*camera1, but .* needs"):
        lerobots_arguments([f"--policy.path={base}", other])


def test_a_checkpoint_that_is_refused_leaves_nothing_behind(checkpoint, tmp_path, capsys):
    folder = cases.copy(checkpoint, tmp_path / "copy", cases.pointer_weights)
    arguments = [f"--policy.path={folder}", *ENVIRONMENT, f"--output_dir={tmp_path / 'out'}"]
    assert main(arguments) == 2
    told = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert [text for text in told if f"{folder}/model.safetensors is a Git LFS pointer" in text]
    assert len(told) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--policy.world_memory_mode_rollout=oracle"], "the future is not known yet"),
        (
            ["--policy.world_memory_mode_rollout=shuffle"],
            "policy.world_memory_mode_rollout = 'shuffle' is not possible",
        ),
        (["--policy.world_memory_mode_rollout", "perfect"], "'perfect' is unknown: choose pred"),
        (
            ["--policy.n_action_steps=ten"],
            "--policy.n_action_steps: Couldn't parse 'ten' into an int",
        ),
        (["--policy.no_such_field=1"], "unrecognized arguments: --policy.no_such_field=1"),
        (["--policy.type=smolvla"], "is a smolvla_world checkpoint, but --policy.type is smolvla"),
        (["--env.type=libreo"], "invalid choice: 'libreo'"),
        (["--env.task=libero_nothing"], "LIBERO has no suite 'libero_nothing'"),
        (["--env.task=', '"], "LIBERO has no suite ''"),
        (["--env.task_ids=[3"], "--env.task_ids=[3: the value cannot be read"),
        (["--env.task_ids=[3,10]"], "--env.task_ids=[3, 10]: libero_object has the tasks 0 to 9"),
        (
            ["--env.episode_length=991"],
            "--env.episode_length=991: LIBERO plays 1 to 990 control steps",
        ),
        (["--eval.n_episodes=0"], "--eval.n_episodes=0: it must be at least 1"),
        (["--seed=-1"], "--seed=-1: give a number"),
        (["--seed=null"], "--seed=None: give a number"),
        (["--shard=5/4"], "5/4"),
        (["--workers=0"], "--workers=0: at least one"),
        (["--videos=some"], "--videos=some: give a number of episodes for every task, or failures"),
        (
            ["--env.control_mode=absolute", "--deterministic"],
            "--deterministic belongs to our LIBERO, which has no --env.control",
        ),
        (["--policy.path=/nowhere"], "/nowhere is neither a checkpoint folder nor a hub id"),
        (["--policy.path="], "Which checkpoint?"),
    ],
)
def test_mistakes_end_in_one_line(flags, line, checkpoint, tmp_path, capsys):
    assert (
        main(
            [
                f"--policy.path={checkpoint}",
                *ENVIRONMENT,
                f"--output_dir={tmp_path / 'out'}",
                *flags,
            ]
        )
        == 2
    )
    (printed,) = [
        text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")
    ]
    assert line in printed


def test_shards_need_a_directory_to_meet_in(checkpoint, capsys):
    assert main([f"--policy.path={checkpoint}", *ENVIRONMENT, "--shard", "1/2"]) == 2
    assert "give --output_dir" in capsys.readouterr().err
