#!/usr/bin/env bash
# deepspeed 0.19.8
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install deepspeed==0.19.8 torch==2.11.0 numpy==2.2.6
export DS_ACCELERATOR=cpu TORCH_EXTENSIONS_DIR=$folder/extensions
export MASTER_ADDR=127.0.0.1 MASTER_PORT=29511 RANK=0 LOCAL_RANK=0 WORLD_SIZE=1
cat >step.py <<'PYTHON'
import logging
import sys

import deepspeed
import torch

logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
# An extension for several processes, which takes minutes to compile.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def step(stage, more):
    """The step of a weight whose gradient is 5, at learning rate 1, and the norm that is told."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    config = {
        "train_batch_size": 1,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config | more)
    engine.backward(engine(torch.tensor([[5.0]])).sum())
    engine.step()
    norm = engine.get_global_grad_norm()
    found = round(-model.weight.item(), 3), norm if norm is None else round(float(norm), 3)
    print(f"ZeRO stage {stage}, {more}: step {found[0]}, norm {found[1]}", flush=True)
    return found


seen = [
    step(stage, more)
    for stage in (0, 1)
    for more in ({}, {"gradient_clipping": 0}, {"gradient_clipping": 100})
]
print(seen)
PYTHON
"$python" -W ignore step.py 2>errors || tail -3 errors
