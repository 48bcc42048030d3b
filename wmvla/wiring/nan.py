"""A memory that is not finite neither reaches an action nor passes silently."""

import torch

from wmvla.errors import UserError
from wmvla.policy.conversion import add_world
from wmvla.policy.processor_smolvla_world import HISTORY
from wmvla.train.finite import FiniteSteps, all_finite
from wmvla.wiring.inputs import WiringInputs, expect
from wmvla.wiring.samples import copied, flow_draws, observation, raw_batch


def check_nan(inputs: WiringInputs) -> dict[str, float | str]:
    """NaN in the memory stops a rollout before it acts, and in the latents a training at the step
    where it comes in; the sentences with which both stopped."""
    policy, (preprocessor, _) = add_world(inputs.base, inputs.world, inputs.seed, inputs.device)
    config = policy.config
    raw = raw_batch(inputs, config.chunk_size)
    noise, time = flow_draws(policy, inputs.seed)
    shape = len(noise), config.memory_tokens, config.world_latent_dim
    memory = torch.zeros(shape, device=inputs.device)
    memory[0, 0, 0] = torch.nan
    figures: dict[str, float | str] = {}
    try:
        policy.predict_action_chunk(preprocessor(observation(raw)), noise, memory=memory)
    except FloatingPointError as error:
        figures["rollout"] = str(error)
    expect("rollout" in figures, "a NaN in the world memory reached an action")

    policy.train()
    batch = preprocessor(copied(raw))
    batch[HISTORY][0, -1, 0] = torch.nan
    loss, _ = policy(batch, noise, time, "none")
    steps = FiniteSteps("wiring-nan")
    steps.add(1, all_finite({"loss_total": loss.mean()}))
    try:
        steps.check()
    except UserError as error:
        figures["training"] = str(error)
    expect("training" in figures, "a NaN in the world latents passed a training step unseen")
    return figures
