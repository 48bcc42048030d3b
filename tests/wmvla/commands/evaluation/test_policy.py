"""The evaluated checkpoint acts as it does in LeRobot's evaluation, whatever its cameras are
called."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs.eval import EvalPipelineConfig
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.scripts import lerobot_eval
from safetensors.torch import load_file, save_file

from tests.wmvla.conftest import SENTENCE, SIZE
from tests.wmvla.policy import cases
from wmvla.commands.convert import main as convert
from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.commands.evaluation.policy import load_rollout_policy, to_policy_names, world_cameras
from wmvla.commands.lerobot_main import parse
from wmvla.errors import UserError
from wmvla.policy.conversion import load_policy
from wmvla.policy.weights import WEIGHTS
from wmvla.policy.whole_checkpoint import strictly_loading
from wmvla.recipe import EpisodeRow
from wmvla.rollout.conventions import check_conventions
from wmvla.rollout.episode import Query
from wmvla.rollout.policy import RolloutPolicy
from wmvla.streams import generator

STEPS, N_ACTION_STEPS = 7, 3
OURS = {"agentview_image": "image", "robot0_eye_in_hand_image": "image2"}
SWAPPED = {"agentview_image": "image2", "robot0_eye_in_hand_image": "image"}


@pytest.fixture(scope="module")
def world(base: Path, world_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``smolvla_world`` whose actions depend on its memory."""
    folder = tmp_path_factory.mktemp("policy") / "world"
    assert convert([str(base), str(folder), *world_flags, "--policy.device=cpu"]) == 0
    weights = load_file(folder / WEIGHTS)
    opened = {
        name: torch.full_like(value, 0.5) if name.endswith("gate") else value
        for name, value in weights.items()
    }
    save_file(opened, folder / WEIGHTS)
    return folder


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EvalPipelineConfig]:
    def made(checkpoint: Path, *flags: str, kind: type = EvalConfig) -> EvalPipelineConfig:
        monkeypatch.setattr("sys.argv", ["pytest"])
        arguments = [
            f"--policy.path={checkpoint}", "--policy.device=cpu", f"--policy.n_action_steps={N_ACTION_STEPS}",
            "--env.type=libero", f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}", *flags,
        ]  # fmt: skip
        return parse(kind, arguments, "test")

    return made


def frames(step: int) -> dict[str, np.ndarray]:
    """What LIBERO's two cameras show at ``step``."""
    draws = np.random.default_rng(step)
    return {camera: draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for camera in OURS}


def state(step: int) -> np.ndarray:
    return np.random.default_rng([1, step]).normal(size=8).astype(np.float32)


def our_actions(policy: RolloutPolicy, cameras: tuple[str, ...]) -> np.ndarray:
    """As the engine asks: the images by our names, and of the world cameras every step's since the
    query before."""
    row = EpisodeRow(0, "fake", 0, 0, 1, 2000, 0)
    seen = [
        {OURS[camera]: image for camera, image in frames(step).items()} for step in range(STEPS)
    ]
    actions: list[np.ndarray] = []
    kept: dict = {}
    for number, step in enumerate(range(0, STEPS, N_ACTION_STEPS)):
        wanted = [max(0, step - back) for back in reversed(range(policy.world_frames))]
        history = (
            np.stack([np.stack([seen[t][camera] for t in wanted]) for camera in cameras])
            if wanted
            else None
        )
        (answer,) = policy.act(
            [Query(row, number, step, SENTENCE, state(step), seen[step], history, kept)]
        )
        actions.extend(answer.actions)
    return np.stack(actions[:STEPS])


def stock_actions(config: EvalPipelineConfig) -> np.ndarray:
    """As ``lerobot_eval`` builds the policy and its ``rollout`` asks it, with the noise of our
    queries."""
    policy = make_policy(config.policy, env_cfg=config.env, rename_map=config.rename_map).eval()
    overrides = {
        "device_processor": {"device": "cpu"},
        "rename_observations_processor": {"rename_map": config.rename_map},
    }
    preprocessor, postprocessor = make_pre_post_processors(
        config.policy, config.policy.pretrained_path, preprocessor_overrides=overrides
    )
    given = config.env.camera_name_mapping or OURS
    policy.reset()
    actions = []
    for step in range(STEPS):
        batch = preprocess_observation(
            {"pixels": {given[camera]: image[None] for camera, image in frames(step).items()}}
        )
        batch = preprocessor(
            {**batch, "observation.state": torch.from_numpy(state(step))[None], "task": [SENTENCE]}
        )
        shape = (1, config.policy.chunk_size, config.policy.max_action_dim)
        noise = torch.randn(shape, generator=generator("noise", 2000, step // N_ACTION_STEPS))
        with torch.no_grad():
            actions.append(postprocessor(policy.select_action(batch, noise)))
    return torch.cat(actions).numpy()


CAMERAS = {
    "as they are": [],
    "swapped": [f"--env.camera_name_mapping={SWAPPED}"],
    "named and renamed": [
        (
            "--env.camera_name_mapping={'agentview_image': 'front', 'robot0_eye_in_hand_image':"
            " 'wrist'}"
        ),
        (
            "--rename_map={'observation.images.wrist': 'observation.images.image',"
            " 'observation.images.front': 'observation.images.image2'}"
        ),
    ],
}


@pytest.mark.parametrize("cameras", CAMERAS)
def test_a_smolvla_acts_as_in_lerobots_evaluation(cameras, base, configured):
    config = configured(base, *CAMERAS[cameras])
    ours = our_actions(load_rollout_policy(config, base), ())
    assert np.array_equal(
        ours, stock_actions(configured(base, *CAMERAS[cameras], kind=EvalPipelineConfig))
    )


@pytest.mark.parametrize("cameras", ["as they are", "swapped"])
def test_a_smolvla_world_acts_as_in_lerobots_evaluation(cameras, world, configured):
    actions = {}
    for mode in ("hold", "zero"):
        flags = [*CAMERAS[cameras], f"--policy.world_memory_mode_rollout={mode}"]
        config = configured(world, *flags)
        policy = load_rollout_policy(config, world)
        seen_by = world_cameras(policy, to_policy_names(config.env, config.rename_map))
        actions[mode] = our_actions(policy, seen_by)
        if mode == "hold":
            assert seen_by == (("image2",) if cameras == "swapped" else ("image",))
            assert np.array_equal(
                actions[mode], stock_actions(configured(world, *flags, kind=EvalPipelineConfig))
            )
    assert not np.allclose(actions["hold"], actions["zero"], atol=1e-4)


def test_deterministic_is_one_query_at_a_time(base, configured):
    config = configured(base, "--deterministic=true")
    assert load_rollout_policy(config, base).largest_batch == 1


NUMBERED = (
    "--env.camera_name_mapping={'agentview_image': 'camera1',"
    " 'robot0_eye_in_hand_image': 'camera2'}"
)


def test_cameras_and_a_state_that_only_the_configuration_has_are_played_as_stock_plays_them(
    base, configured, tmp_path, capsys
):
    official = cases.copy(base, tmp_path / "official", cases.official_style)
    config = configured(official, NUMBERED)
    ours = our_actions(load_rollout_policy(config, official), ())
    assert np.array_equal(
        ours, stock_actions(configured(official, NUMBERED, kind=EvalPipelineConfig))
    )
    assert np.array_equal(ours, our_actions(load_rollout_policy(configured(base), base), ()))
    told = capsys.readouterr().err
    assert f"{official} reads observation.images.camera3 too, of which LIBERO has no image" in told


def test_a_swap_is_played_as_stock_plays_it(base, configured):
    swap = (
        "--rename_map={'observation.images.image': 'observation.images.image2',"
        " 'observation.images.image2': 'observation.images.image'}"
    )
    ours = our_actions(load_rollout_policy(configured(base, swap), base), ())
    assert np.array_equal(ours, stock_actions(configured(base, swap, kind=EvalPipelineConfig)))
    assert not np.array_equal(ours, our_actions(load_rollout_policy(configured(base), base), ()))


IMAGE = "observation.images."
REFUSED_RENAMES = {
    "half a swap": ({"image": "image2"}, "would both be observation.images.image2"),
    "two to one": ({"image": "camera1", "image2": "camera1"}, "would both be .*camera1"),
    "one of two": (
        {"image": "camera1"},
        r"reads observation.images.camera2, which get no image, while observation.images.image2"
        r" would be left out: give --rename_map='\{\"observation.images.image\":"
        r" \"observation.images.camera1\", \"observation.images.image2\":"
        r" \"observation.images.camera2\"\}\'",
    ),
    "no such image": ({"imaeg": "camera1"}, "imaeg, which LIBERO does not show"),
    "no such camera": ({"image": "camear1"}, "to observation.images.camear1, but .* reads"),
}


@pytest.mark.parametrize("rename", REFUSED_RENAMES)
def test_a_camera_without_an_image_and_names_of_nothing_are_refused(
    rename, base, configured, tmp_path
):
    names, message = REFUSED_RENAMES[rename]
    folder = base
    if rename != "half a swap":
        folder = cases.copy(base, tmp_path / "renamed", cases.renamed_cameras)
    given = {IMAGE + data: IMAGE + name for data, name in names.items()}
    config = configured(folder, f"--rename_map={given}")
    with pytest.raises(UserError, match=message):
        load_rollout_policy(config, folder)


BY_EVALUATION = (
    cases.foreign_statistics_keys,
    cases.nan_statistics,
    cases.ddp_prefix,
    cases.missing_head,
    cases.pointer_weights,
    cases.pointer_statistics,
    cases.tokenizer_elsewhere,
    cases.six_wide_statistics,
    cases.adapter,
    cases.adapter_beside_its_base,
    cases.adapter_of_no_base,
)


@pytest.mark.parametrize("case", BY_EVALUATION, ids=lambda case: case.__name__)
def test_what_is_not_whole_is_refused(case, base, configured, tmp_path):
    folder = cases.copy(base, tmp_path / "copy", case)
    with pytest.raises(UserError, match=cases.REFUSED[case]) as caught:
        load_rollout_policy(configured(folder), folder)
    assert "\n" not in str(caught.value)


def test_lerobots_own_evaluation_passes_the_same_gate(base, configured, tmp_path):
    stock = lerobot_eval.make_policy, lerobot_eval.make_pre_post_processors
    headless = cases.copy(base, tmp_path / "headless", cases.missing_head)
    foreign = cases.copy(base, tmp_path / "foreign", cases.foreign_statistics_keys)
    config = configured(headless, kind=EvalPipelineConfig)
    with strictly_loading(lerobot_eval):
        with pytest.raises(UserError, match=cases.REFUSED[cases.missing_head]):
            lerobot_eval.make_policy(cfg=config.policy, env_cfg=config.env)
        with pytest.raises(UserError, match=cases.REFUSED[cases.foreign_statistics_keys]):
            lerobot_eval.make_pre_post_processors(config.policy, pretrained_path=foreign)
    other = cases.copy(base, tmp_path / "gripper", cases.gripper_of_0_and_1)
    with strictly_loading(lerobot_eval, check_conventions):
        with pytest.raises(UserError, match="the gripper, was trained on from 0 to 1"):
            lerobot_eval.make_pre_post_processors(config.policy, pretrained_path=other)
        before, _ = lerobot_eval.make_pre_post_processors(config.policy, pretrained_path=base)
        assert before.before_step_hooks
    assert stock == (lerobot_eval.make_policy, lerobot_eval.make_pre_post_processors)


def test_statistics_of_a_state_of_another_robot_are_refused(base, configured, tmp_path):
    folder = cases.copy(base, tmp_path / "copy", cases.six_wide_state_statistics)
    with pytest.raises(UserError, match=r"'observation.state' have 6 numbers .*, not 8"):
        load_rollout_policy(configured(folder), folder)


def test_weights_in_several_files_are_read(base, configured, tmp_path):
    folder = cases.copy(base, tmp_path / "copy", cases.two_shards)
    config = configured(folder)
    ours = our_actions(load_rollout_policy(config, folder), ())
    assert np.array_equal(ours, our_actions(load_rollout_policy(configured(base), base), ()))
    assert config.policy.pretrained_path == folder
    of_a_suite = load_policy(folder)
    assert all(map(torch.equal, of_a_suite.parameters(), load_policy(base).parameters()))
