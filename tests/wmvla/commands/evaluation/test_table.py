"""Which LIBERO settings the engine plays, and the episodes of an evaluation."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from lerobot.configs.default import EvalConfig as LeRobotsEvalConfig
from lerobot.configs.eval import EvalPipelineConfig
from lerobot.envs.configs import LiberoEnv, LiberoPlusEnv, PushtEnv
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.xvla.configuration_xvla import XVLAConfig

from wmvla.commands.evaluation import main as command
from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.commands.evaluation.policy import to_policy_names
from wmvla.commands.evaluation.settings import checkpoint_hash, keep_settings
from wmvla.commands.evaluation.table import Suite, episode_table, lerobots_own, suites_of
from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.sim.libero.assets import prepare_libero

SUITES = [
    Suite(Environment("libero_object", (2, 7), 64, 280), (3, 2)),
    Suite(Environment("libero_spatial", (0,), 64, 280), (5,)),
]


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EvalConfig]:
    monkeypatch.setattr("sys.argv", ["pytest"])

    def made(env: object, policy: object = None, **changes: object) -> EvalConfig:
        config = EvalConfig(env=env, **changes)  # type: ignore[arg-type]
        config.policy = policy or ACTConfig(device="cpu")
        return config

    return made


def test_episodes_are_those_of_lerobot():
    table = episode_table(SUITES, 4, 1000)
    assert [(row.suite, row.task) for row in table[::4]] == [
        ("libero_object", 2),
        ("libero_object", 7),
        ("libero_spatial", 0),
    ]
    assert [row.env_seed for row in table] == [1000, 1001, 1002, 1003] * 3
    assert [row.init for row in table] == [0, 1, 2, 0, 0, 1, 0, 1, 0, 1, 2, 3]
    assert [row.repeat for row in table] == [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    assert len({row.noise_seed for row in table}) == 12
    assert sorted(row.index for row in table) == list(range(12))


def test_more_episodes_later_leave_the_first_as_they_are():
    few, many = episode_table(SUITES, 2, 5), episode_table(SUITES, 6, 5)
    later = {row.index: row for row in many}
    assert [later[row.index] for row in few] == few
    assert episode_table(SUITES, 2, 6)[0].noise_seed != few[0].noise_seed


def test_suites_and_their_steps():
    prepare_libero()
    chosen = LiberoEnv(
        task="libero_object, libero_10,libero_object",
        task_ids=[3, 0, 3],
        observation_height=64,
        observation_width=64,
    )
    (first, second) = suites_of(chosen)
    assert first == Suite(Environment("libero_object", (0, 3), 64, 280), (50, 50))
    assert second.environment.max_steps == 520
    assert suites_of(replace(chosen, episode_length=40))[0].environment.max_steps == 40
    assert suites_of(replace(chosen, task_ids=None))[0].environment.tasks == tuple(range(10))


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (LiberoEnv(), None),
        (
            LiberoEnv(
                observation_height=128,
                observation_width=128,
                episode_length=10,
                max_parallel_tasks=3,
            ),
            None,
        ),
        (LiberoEnv(camera_name_mapping={"agentview_image": "front"}), None),
        (LiberoEnv(control_mode="absolute"), "--env.control_mode=absolute"),
        (LiberoEnv(init_states=False), "--env.init_states=False"),
        (LiberoEnv(hard_reset=False), "--env.hard_reset=False"),
        (LiberoEnv(obs_type="pixels"), "--env.obs_type=pixels"),
        (LiberoEnv(fps=10), "--env.fps=10"),
        (LiberoEnv(camera_name="agentview_image"), "--env.camera_name=agentview_image"),
        (
            LiberoEnv(observation_height=128),
            "--env.observation_height=128 beside --env.observation_width=360",
        ),
        (LiberoPlusEnv(), "--env.type=libero_plus"),
        (PushtEnv(), "--env.type=pusht"),
    ],
)
def test_what_only_lerobots_environment_has(evaluation, env, reason):
    assert lerobots_own(evaluation(env)) == reason


def test_policies_with_processors_of_their_own_are_lerobots(evaluation):
    assert lerobots_own(evaluation(LiberoEnv(), XVLAConfig(device="cpu"))) == "--policy.type=xvla"
    assert (
        lerobots_own(evaluation(LiberoEnv(), eval=LeRobotsEvalConfig(recording=True)))
        == "--eval.recording=true"
    )


def test_lerobot_evaluates_what_we_do_not_have(evaluation, monkeypatch, capsys):
    monkeypatch.setattr(command, "lerobots_arguments", lambda arguments: arguments)
    kinds, played = [], []

    def parse(kind: type, arguments: list[str], program: str) -> EvalConfig:
        kinds.append(kind)
        return evaluation(LiberoEnv(obs_type="pixels"))

    monkeypatch.setattr(command, "parse", parse)
    monkeypatch.setattr("lerobot.scripts.lerobot_eval.eval_main", played.append)
    command.evaluate(["--policy.path=x"])
    assert kinds == [EvalConfig, EvalPipelineConfig]
    assert [config.env.obs_type for config in played] == ["pixels"]
    assert (
        "LeRobot's own evaluation plays this: ours has no --env.obs_type=pixels"
        in capsys.readouterr().err
    )


def test_names_from_our_cameras_to_the_policys():
    image, image2 = "observation.images.image", "observation.images.image2"
    assert to_policy_names(LiberoEnv(), {}) == {}
    assert to_policy_names(LiberoEnv(), {image: "observation.images.camera1"}) == {
        image: "observation.images.camera1"
    }
    front = LiberoEnv(
        camera_name_mapping={"agentview_image": "front", "robot0_eye_in_hand_image": "image2"}
    )
    assert to_policy_names(front, {}) == {image: "observation.images.front"}
    assert to_policy_names(
        front, {"observation.images.front": image, image2: "observation.images.wrist"}
    ) == {image2: "observation.images.wrist"}


def test_a_directory_holds_one_evaluation(tmp_path):
    settings = {"seed": 1, "policy": {"n_action_steps": 5}}
    keep_settings(tmp_path, settings)
    keep_settings(tmp_path, settings)
    with pytest.raises(UserError, match=r"policy\.n_action_steps was 5, now 6"):
        keep_settings(tmp_path, {"seed": 1, "policy": {"n_action_steps": 6}})
    with pytest.raises(UserError, match="chunk was null, now 3"):
        keep_settings(tmp_path, {**settings, "chunk": 3})
    (tmp_path / "eval_settings.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        keep_settings(tmp_path, settings)


def test_the_hash_of_a_checkpoint_is_that_of_what_is_evaluated(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = checkpoint_hash(tmp_path)
    (tmp_path / "train_config.json").write_text("{}")
    (tmp_path / "README.md").write_text("x")
    assert checkpoint_hash(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert checkpoint_hash(tmp_path) != first
