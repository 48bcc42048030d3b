"""The policy's side of a rollout: every random number from the episode's own stream, many queries
in one forward pass."""

import dataclasses

import numpy as np
import pytest
import torch

from wmvla.errors import UserError
from wmvla.rollout.episode import Query
from wmvla.rollout.policy import RolloutPolicy
from wmvla.rollout.replay import MODES, Recording, replay
from wmvla.train.loop import train

from ..conftest import SIZE
from ..policy import cases
from .fake import row

CAMERAS = ("image", "image2")
FRAMES = 7


@pytest.fixture(scope="module")
def checkpoints(toy, base, tmp_path_factory):
    """A plain policy and one with a memory."""
    root = tmp_path_factory.mktemp("rollout-policy")
    return {
        "E0": base,
        "E2": train(toy.scratch_job(root / "E2", scratch=None, base=str(base), world=toy.world)),
    }


def make_query(episode, number, with_frames, step=None):
    """A query whose pixels and state are its own."""
    draws = np.random.default_rng([episode, number])
    images = {name: draws.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for name in CAMERAS}
    frames = draws.integers(0, 256, (1, FRAMES, SIZE, SIZE, 3), np.uint8) if with_frames else None
    state = draws.normal(size=8).astype(np.float32)
    step = 2 * number if step is None else step
    return Query(row(episode), number, step, "pick up the milk", state, images, frames)


def open_policy(checkpoint, mode, **how):
    """A policy whose memory, where it has one, bears on its actions: training had no time to open
    the gate."""
    policy = RolloutPolicy(checkpoint, mode, 2, "cpu", **how)
    if mode != "none":
        torch.nn.init.ones_(policy.policy.world_fusion.late.gate)
    return policy


def actions(policy, *queries):
    return [
        answer.actions
        for answer in policy.act([dataclasses.replace(query, kept={}) for query in queries])
    ]


@pytest.mark.parametrize("mode", ["pred", "zero", "random", "hold", "history"])
def test_the_policy_draws_from_the_episode_stream_alone(checkpoints, mode):
    policy = RolloutPolicy(checkpoints["E2"], mode, 2, "cpu")
    assert (policy.world_frames, policy.world_cameras) == (
        (0, ()) if mode in ("zero", "random") else (FRAMES, ("image",))
    )
    same = make_query(0, 0, policy.world_frames > 0)

    def query(episode, number):
        return dataclasses.replace(same, row=row(episode), number=number)

    (first,) = actions(policy, query(0, 0))
    actions(policy, query(1, 0))
    assert np.array_equal(first, *actions(policy, query(0, 0)))
    assert not np.array_equal(first, *actions(policy, query(0, 1)))
    assert not np.array_equal(first, *actions(policy, query(1, 0)))
    assert first.shape == (2, 7)


@pytest.mark.parametrize(("arm", "mode"), [("E0", "none"), ("E2", "pred"), ("E2", "random")])
def test_queries_answered_together_get_the_answers_that_they_get_alone(checkpoints, arm, mode):
    policy = open_policy(checkpoints[arm], mode)
    assert policy.largest_batch == 1, "on a CPU"
    queries = [
        make_query(episode, number, policy.world_frames > 0)
        for episode, number in ((0, 3), (1, 0), (2, 1), (0, 4))
    ]
    alone = [answer for query in queries for answer in actions(policy, query)]
    together = actions(policy, *queries)
    if policy.world_frames:
        other = dataclasses.replace(queries[0], frames=queries[1].frames)
        assert not np.allclose(alone[0], *actions(policy, other), atol=1e-3), "the frames matter"
    for own, shared in zip(alone, together, strict=True):
        np.testing.assert_allclose(own, shared, rtol=1e-4, atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-3)
    assert not np.allclose(together[0], together[3], atol=1e-3), "same episode, another query"


def test_the_cpu_seconds_of_a_batch_are_shared(checkpoints):
    answers = RolloutPolicy(checkpoints["E0"], "none", 2, "cpu", 4).act(
        [make_query(index, 0, False) for index in range(4)]
    )
    assert len({answer.cpu_seconds for answer in answers}) == 1
    assert answers[0].cpu_seconds > 0


def test_overlapping_windows_give_the_actions_of_whole_histories(checkpoints):
    policy = open_policy(checkpoints["E2"], "pred")
    first = make_query(0, 0, True, step=20)
    later = make_query(0, 1, True, step=22)
    shifted = np.concatenate([first.frames[:, 2:], later.frames[:, -2:]], axis=1)
    later = dataclasses.replace(later, frames=shifted, kept=first.kept)
    (whole,) = actions(policy, later)
    before = policy.latents.encoded
    policy.act([first])
    assert policy.latents.encoded - before == 4
    (answer,) = policy.act([later])
    assert policy.latents.encoded - before == 6, "two of four windows were known"
    np.testing.assert_allclose(answer.actions, whole, rtol=1e-4, atol=1e-5)
    (other,) = actions(policy, dataclasses.replace(later, frames=first.frames))
    assert not np.allclose(other, whole, atol=1e-3)


def test_a_memory_that_is_not_finite_raises(checkpoints, monkeypatch):
    policy = open_policy(checkpoints["E2"], "pred")
    monkeypatch.setattr(
        policy.latents.encoder,
        "encode",
        lambda clips: torch.full((len(clips), policy.latents.encoder.width), torch.nan),
    )
    with pytest.raises(FloatingPointError, match="world memory is not finite"):
        policy.act([make_query(0, 0, True), make_query(1, 0, True)])


def test_a_checkpoint_of_another_policy_is_one_line(checkpoints):
    """As after a copy into the wrong folder; no assertion, for a person can correct it."""
    with pytest.raises(UserError, match=r"config\.json: 'type' is smolvla, .*right"):
        RolloutPolicy(checkpoints["E0"], "pred", 2, "cpu")
    with pytest.raises(UserError, match=r"config\.json: 'type' is smolvla_world, .*memory 'none'"):
        RolloutPolicy(checkpoints["E2"], "none", 2, "cpu")


def test_a_checkpoint_of_other_states_or_gripper_is_not_played(checkpoints, tmp_path):
    other = cases.copy(checkpoints["E0"], tmp_path / "gripper", cases.gripper_of_0_and_1)
    with pytest.raises(UserError, match="the gripper, was trained on from 0 to 1"):
        RolloutPolicy(other, "none", 2, "cpu")
    other = cases.copy(checkpoints["E0"], tmp_path / "joints", cases.joint_angles)
    policy = RolloutPolicy(other, "none", 2, "cpu")
    with pytest.raises(UserError, match="of LIBERO begins at axis-angle x"):
        policy.act([make_query(0, 0, False)])
    nothing = Recording(checkpoints["E0"], "toy", checkpoints["E0"])
    with pytest.raises(UserError, match=r"config\.json: 'type' is smolvla, which has no world"):
        next(replay(checkpoints["E0"], nothing, checkpoints["E0"], MODES, 2, "cpu"))
