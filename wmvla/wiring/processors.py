"""The arms see what the base sees: its processors, and the latents beside them."""

from typing import Any

import torch
from lerobot.processor import PolicyProcessorPipeline
from torch import Tensor

from wmvla.policy.conversion import add_world, load_with_processors
from wmvla.policy.processor_smolvla_world import WorldLatentsProcessorStep
from wmvla.wiring.inputs import WiringInputs, expect
from wmvla.wiring.samples import copied, raw_batch


def check_processors(inputs: WiringInputs) -> dict[str, float | str]:
    """The arm's pre- and post-processor are the base's, step by step and value by value, plus the
    latents step. A processor mismatch gave the reference 0 % success."""
    plain, base = load_with_processors(inputs.base, inputs.device)
    _, arm = add_world(inputs.base, inputs.world, inputs.seed, inputs.device)
    pairs = zip(arm, base, strict=True)
    for name, (ours, theirs) in zip(("preprocessor", "postprocessor"), pairs, strict=True):
        added = [step for step in ours.steps if isinstance(step, WorldLatentsProcessorStep)]
        expect(
            len(added) == (name == "preprocessor"),
            f"the arm's {name} has {len(added)} latents steps",
        )
        kept = [described(step) for step in ours.steps if step not in added]
        expect(
            same(kept, [described(step) for step in theirs.steps]),
            f"the arm's {name} is not that of {inputs.base}",
        )
    raw = raw_batch(inputs, plain.config.chunk_size)
    seen = base[0](copied(raw))
    also = arm[0](copied(raw))
    for key, value in seen.items():
        expect(
            key in also and same(value, also[key]),
            f"the arm's preprocessor gives another {key} than the base's",
        )
    actions = torch.linspace(-1, 1, raw["action"].shape[-1])[None].to(inputs.device)
    expect(
        same(base[1](actions), arm[1](actions)),
        "the arm's postprocessor gives other actions than the base's",
    )
    return {"steps": float(sum(len(part.steps) for part in arm)), "keys": float(len(also))}


def described(step: PolicyProcessorPipeline) -> tuple[str, Any, Any]:
    """A step's class, configuration and tensors."""
    return type(step).__name__, step.get_config(), step.state_dict()


def same(left: Any, right: Any) -> bool:
    """Equality that looks into containers and compares tensors bit for bit."""
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(same(left[key], right[key]) for key in left)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
