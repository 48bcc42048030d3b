"""Any LeRobot policy in a rollout: its own processors, state and noise for every episode."""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import nn

from wmvla.errors import UserError
from wmvla.policy.normalisation import Pipelines
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.policy import one_thread_on_cpu
from wmvla.streams import query_stream

WHOLE_CHUNKS = frozenset(
    {"act", "eo1", "evo1", "fastwam", "pi0", "pi05", "pi0_fast", "vla_jepa", "wall_x"}
)
"""Types whose ``select_action`` looks at nothing but the observation at which it predicts a chunk,
and then plays that chunk's first ``n_action_steps`` actions; seen in LeRobot 0.6.1's code. Every
other type, a plugin's too, is asked at every step."""

STATE = "state"
"""Where an episode keeps its copy of the policy in ``Query.kept``."""


class AnyPolicy:
    """A LeRobot policy of any type that answers one query at a time, as its ``select_action`` does
    in LeRobot's evaluation; on its device, in evaluation mode, with the environment's
    ``output_features``.
    Non-obvious: a policy keeps the observations and actions of the episode that it plays (queues, a
    temporal ensemble, the plan of the step before). Where it does, every episode in flight has a
    copy of the policy that shares all weights.
    """

    largest_batch = 1
    world_frames = 0
    world_cameras: tuple[str, ...] = ()

    def __init__(self, policy: PreTrainedPolicy, processors: Pipelines) -> None:
        one_thread_on_cpu(str(policy.config.device))
        self.policy, self.config = policy, policy.config
        self.preprocessor, self.postprocessor = processors
        self.whole_chunks = answers_whole_chunks(self.config)
        self.n_action_steps: int = self.config.n_action_steps if self.whole_chunks else 1

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        """For each query the actions (n_action_steps, A) to execute next. UserError if their number
        A is not the environment's."""
        return [self._answer(query) for query in queries]

    @torch.no_grad()
    def _answer(self, query: Query) -> Answer:
        began = time.process_time()
        observed = preprocess_observation(
            {"pixels": {name: image[None] for name, image in query.images.items()}}
        )
        observed[OBS_STATE] = torch.from_numpy(query.state)[None]
        with noise_of(query, str(self.config.device)):
            batch = self.preprocessor({**observed, "task": [query.language]})
            if self.whole_chunks:
                chunk = self.policy.predict_action_chunk(batch)[:, : self.n_action_steps].unbind(1)
            else:
                if query.number == 0:
                    query.kept[STATE] = with_own_state(self.policy)
                chunk = (query.kept[STATE].select_action(batch),)
            # One at a time, as LeRobot does it: a step may look at the last observation.
            played = torch.cat([self.postprocessor(action) for action in chunk])
            actions = played.float().cpu().numpy()
        (taken,) = self.config.output_features[ACTION].shape
        if actions.shape[1] != taken:
            raise UserError(
                f"This {self.config.type} acts with {actions.shape[1]} numbers, its environment"
                f" takes {taken}: it was trained for another robot."
            )
        return Answer(actions, time.process_time() - began)


def answers_whole_chunks(config: object) -> bool:
    """Whether such a policy needs to be asked only when its action queue is empty."""
    return (
        getattr(config, "type", None) in WHOLE_CHUNKS
        and getattr(config, "n_obs_steps", 1) == 1
        and getattr(config, "temporal_ensemble_coeff", None) is None
        # relative to the state of the step at which each action is played
        and not getattr(config, "use_relative_actions", False)
    )


def with_own_state(policy: PreTrainedPolicy) -> PreTrainedPolicy:
    """A copy of ``policy`` at the start of an episode; its parameters and buffers are ``policy``'s
    own, those of modules that it keeps out of its state too."""
    if hasattr(policy, "_ensure_frozen_modules"):  # lingbot_va's, else loaded by every copy
        policy._ensure_frozen_modules()
    kept = [value for value in vars(policy).values() if isinstance(value, dict)]
    hidden = [part for each in kept for part in each.values() if isinstance(part, nn.Module)]
    weights = {
        id(tensor): tensor
        for part in (policy, *hidden)
        for tensor in (*part.parameters(), *part.buffers())
    }
    other = copy.deepcopy(policy, weights)  # what is in the memo is not copied
    other.reset()
    return other


def query_seed(query: Query) -> int:
    """The seed of the noise that the policy may draw for ``query``."""
    return query_stream("policy", query.row.noise_seed, query.number).initial_seed()


@contextmanager
def noise_of(query: Query, device: str) -> Iterator[None]:
    """Torch's global generators begin at the query's own stream, and are put back afterwards."""
    devices = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(query_seed(query))
        yield
