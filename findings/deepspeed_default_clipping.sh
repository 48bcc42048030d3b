#!/usr/bin/env bash
# deepspeed 0.19.8: gradients are clipped at norm 1 if the configuration says nothing.
#
# `gradient_clipping` has the default 1.0, with ZeRO and without. A gradient of norm 5 moves the
# weights as one of norm 1, while `get_global_grad_norm` reports 5. A recipe that clips nowhere, or
# that clips at 10 in its own loop, trains otherwise under DeepSpeed. No warning says so.
# What to do: always write `gradient_clipping`; 0 switches it off.
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
    """The step of a weight whose gradient is 5, at learning rate 1, and the norm reported."""
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
clipped, whole = (1.0, 5.0), (5.0, 5.0)
same = seen[3:] == [clipped, whole, whole] and [moved for moved, _ in seen[:3]] == [1.0, 5.0, 5.0]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
"$python" -W ignore step.py 2>errors || { tail -3 errors; exit 1; }
