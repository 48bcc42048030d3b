"""One optimizer step: clipping apart, and as torch clips."""

import pytest
import torch
from torch import nn

from wmvla.train.step import clip


def parameters(*scales: float) -> list[nn.Parameter]:
    made = []
    for number, scale in enumerate(scales):
        made.append(nn.Parameter(torch.zeros(3, 4)))
        made[-1].grad = scale * torch.randn(3, 4, generator=torch.Generator().manual_seed(number))
    return made


@pytest.mark.parametrize("most", [0.5, 1e3])
def test_parts_are_clipped_as_torch_clips_each(most):
    ours = {
        "grad_norm": parameters(1.0, 2.0),
        "grad_world_inject": parameters(5.0),
        "grad_prophet": parameters(0.1, 3.0),
    }
    own, world = parameters(1.0, 2.0), [*parameters(5.0), *parameters(0.1, 3.0)]
    norms = clip({name: [p.grad for p in part] for name, part in ours.items()}, most)
    assert norms["grad_norm"] == nn.utils.clip_grad_norm_(own, most)
    together = nn.utils.clip_grad_norm_(world, most)
    assert torch.hypot(norms["grad_world_inject"], norms["grad_prophet"]) == pytest.approx(
        together.item()
    )
    for mine, theirs in zip(
        [p for part in ours.values() for p in part], [*own, *world], strict=True
    ):
        assert torch.allclose(mine.grad, theirs.grad)
