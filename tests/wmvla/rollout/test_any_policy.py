"""What comes through our path is what LeRobot's ``select_action`` gives, called at every step with
the same noise."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.lingbot_va.configuration_lingbot_va import LingBotVAConfig
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.policies.tdmpc.configuration_tdmpc import TDMPCConfig
from lerobot.processor import RenameObservationsProcessorStep

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.any_policy import AnyPolicy, answers_whole_chunks, query_seed, with_own_state
from wmvla.rollout.episode import Query

SIZE, STEPS = 64, 9
IMAGE = PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE))
FEATURES = {
    "input_features": {
        "observation.images.image": IMAGE,
        "observation.images.image2": IMAGE,
        "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
    },
    "output_features": {"action": PolicyFeature(FeatureType.ACTION, (7,))},
    "device": "cpu",
}
STATE = FEATURES["input_features"]["observation.state"]
ONE_CAMERA = {
    **FEATURES,
    "input_features": {"observation.image": IMAGE, "observation.state": STATE},
}
STATISTICS = {
    key: {
        "mean": torch.full((n,), 0.2),
        "std": torch.full((n,), 1.5),
        "min": -torch.ones(n),
        "max": torch.ones(n),
    }
    for key, n in (("observation.state", 8), ("action", 7))
}


def act(**fields) -> ACTConfig:
    return ACTConfig(
        **FEATURES, chunk_size=5, n_action_steps=4, pretrained_backbone_weights=None, dim_model=16, n_heads=2,
        dim_feedforward=16, n_encoder_layers=1, n_vae_encoder_layers=1, latent_dim=4,
        normalization_mapping={"STATE": NormalizationMode.MEAN_STD, "ACTION": NormalizationMode.MEAN_STD}, **fields,
    )  # fmt: skip


def act_ensemble() -> ACTConfig:
    config = act()
    config.n_action_steps, config.temporal_ensemble_coeff = 1, 0.01
    return config


def tdmpc() -> TDMPCConfig:
    """It plans anew at every step, from noise and from the plan of the step before. Its one image
    must have this name."""
    return TDMPCConfig(
        **ONE_CAMERA, horizon=3, n_gaussian_samples=16, n_pi_samples=4, n_elites=4, cem_iterations=2, mlp_dim=16, latent_dim=8,
        image_encoder_hidden_dim=8, state_encoder_hidden_dim=16, q_ensemble_size=2,
    )  # fmt: skip


def diffusion() -> DiffusionConfig:
    """It looks at the last two observations and plays four actions of each chunk."""
    pytest.importorskip("diffusers")
    return DiffusionConfig(
        **FEATURES, n_obs_steps=2, horizon=8, n_action_steps=4, pretrained_backbone_weights=None, crop_ratio=1.0,
        down_dims=(16, 32), n_groups=4, diffusion_step_embed_dim=8, spatial_softmax_num_keypoints=4, num_train_timesteps=4,
        normalization_mapping={"STATE": NormalizationMode.MEAN_STD, "ACTION": NormalizationMode.MEAN_STD},
    )  # fmt: skip


CONFIGS = {"act": act, "act_ensemble": act_ensemble, "tdmpc": tdmpc, "diffusion": diffusion}


@pytest.fixture(params=CONFIGS, scope="module")
def policy(request: pytest.FixtureRequest) -> AnyPolicy:
    config = CONFIGS[request.param]()
    torch.manual_seed(0)
    stock = get_policy_class(config.type)(config).eval()
    preprocessor, postprocessor = make_pre_post_processors(config, dataset_stats=STATISTICS)
    if request.param == "tdmpc":
        (renaming,) = (
            step for step in preprocessor.steps if isinstance(step, RenameObservationsProcessorStep)
        )
        renaming.rename_map = {"observation.images.image": "observation.image"}
    return AnyPolicy(stock, (preprocessor, postprocessor))


def observation(episode: int, step: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    draws = np.random.default_rng([episode, step])
    images = {
        name: draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for name in ("image", "image2")
    }
    return images, draws.normal(size=8).astype(np.float32)


def row(episode: int) -> EpisodeRow:
    return EpisodeRow(episode, "fake", 0, episode, 1, 2000 + episode, 0)


def played(policy: AnyPolicy, episode: int) -> Iterator[np.ndarray]:
    """The actions of an episode, asked for as the engine does; one step at a time, so that another
    can come between."""
    kept: dict = {}
    actions: list[np.ndarray] = []
    number = 0
    for step in range(STEPS):
        if not actions:
            images, state = observation(episode, step)
            (answer,) = policy.act(
                [Query(row(episode), number, step, "pick", state, images, None, kept)]
            )
            actions, number = list(answer.actions), number + 1
        yield actions.pop(0)


def stock_actions(
    policy: AnyPolicy, episode: int, asked: Callable[[int], int | None]
) -> np.ndarray:
    """As LeRobot's ``rollout`` does it; ``asked(step)`` is the query that our path makes at this
    step."""
    stock = policy.policy
    stock.reset()
    actions = []
    for step in range(STEPS):
        images, state = observation(episode, step)
        seen = preprocess_observation(
            {"pixels": {name: image[None] for name, image in images.items()}}
        )
        seen = {**seen, "observation.state": torch.from_numpy(state)[None], "task": ["pick"]}
        if (number := asked(step)) is not None:
            torch.manual_seed(
                query_seed(Query(row(episode), number, step, "", state, images, None))
            )
        with torch.no_grad():
            actions.append(policy.postprocessor(stock.select_action(policy.preprocessor(seen))))
    stock.reset()
    return torch.cat(actions).numpy()


def test_actions_are_those_of_select_action_at_every_step(policy):
    every = policy.n_action_steps
    expected = stock_actions(policy, 3, lambda step: None if step % every else step // every)
    ours = np.stack(list(played(policy, 3)))
    assert ours.shape == (STEPS, 7)
    assert np.array_equal(ours, expected)


def test_episodes_in_flight_do_not_see_each_other(policy):
    alone = [np.stack(list(played(policy, episode))) for episode in (4, 5)]
    together = [
        np.stack(actions)
        for actions in zip(*zip(played(policy, 4), played(policy, 5), strict=True), strict=True)
    ]
    assert np.array_equal(together, alone)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)


def test_noise_is_the_episodes_own_and_leaves_the_global_generator_alone(policy):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = np.stack(list(played(policy, 6)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert np.array_equal(np.stack(list(played(policy, 6))), first)


def test_a_copy_with_own_state_shares_all_weights(policy):
    other = with_own_state(policy.policy)
    for (name, ours), (_, theirs) in zip(
        policy.policy.state_dict().items(), other.state_dict().items(), strict=True
    ):
        assert ours.data_ptr() == theirs.data_ptr(), name


def test_what_lingbot_keeps_out_of_its_state_is_loaded_once_and_shared(monkeypatch):
    """Its frozen parts, 20 GB as published, which it loads when it first acts; stand-ins here."""
    pytest.importorskip("diffusers")
    loaded = []

    def load(name):
        def made(*args, **kwargs):
            loaded.append(name)
            return torch.nn.Linear(2, 2)

        return made

    module = "lerobot.policies.lingbot_va.modeling_lingbot_va"
    for name in ("load_vae", "load_text_encoder", "load_tokenizer"):
        monkeypatch.setattr(f"{module}.{name}", load(name))
    monkeypatch.setattr(f"{module}.WanVAEStreamingWrapper", lambda vae: SimpleNamespace(vae=vae))
    config = LingBotVAConfig(
        **FEATURES, num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, text_dim=8,
        freq_dim=8, ffn_dim=8, num_layers=1, dtype="float32",
    )  # fmt: skip
    policy = get_policy_class("lingbot_va")(config).eval()
    monkeypatch.setattr(type(policy), "reset", lambda self: None)
    first, second = with_own_state(policy), with_own_state(policy)
    assert sorted(loaded) == ["load_text_encoder", "load_tokenizer", "load_vae"]
    for part in ("vae", "text_encoder"):
        weights = [each._frozen[part].weight.data_ptr() for each in (policy, first, second)]
        assert len(set(weights)) == 1, part
    assert first._frozen["streaming_vae"] is not second._frozen["streaming_vae"]
    assert first._frozen["streaming_vae"].vae is first._frozen["vae"]


def test_which_policies_are_asked_for_whole_chunks():
    assert answers_whole_chunks(act())
    assert answers_whole_chunks(PI0Config())
    assert not answers_whole_chunks(PI0Config(use_relative_actions=True))
    assert not answers_whole_chunks(act_ensemble())
    assert not answers_whole_chunks(tdmpc())
    assert not answers_whole_chunks(object())


def test_actions_of_another_robot_are_refused():
    config = act()
    policy = AnyPolicy(
        get_policy_class("act")(config).eval(),
        make_pre_post_processors(config, dataset_stats=STATISTICS),
    )
    policy.config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (6,))}
    with pytest.raises(UserError, match="acts with 7 numbers, its environment takes 6"):
        next(played(policy, 0))
