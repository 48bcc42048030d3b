#!/usr/bin/env bash
# accelerate 1.15.0: ACCELERATE_GRADIENT_ACCUMULATION_STEPS wins over the argument of the same name.
#
# `Accelerator(gradient_accumulation_steps=1)` reads the variable and lets it win, so that
# `backward` divides the loss by it, also in a loop that never uses `accumulate`. The printed loss
# stays the same. `accelerate launch --use_deepspeed` sets the variable, and children inherit it.
# What to do: give `GradientAccumulationPlugin(num_steps=1)`, or remove the variable.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install accelerate==1.15.0 torch==2.11.0 numpy==2.2.6
cat >gradient.py <<'PYTHON'
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

plugin = GradientAccumulationPlugin(num_steps=1)
given = {
    "plugin": {"gradient_accumulation_plugin": plugin},
    "argument": {"gradient_accumulation_steps": 1},
}
accelerator = Accelerator(cpu=True, **given[sys.argv[1]])
model = accelerator.prepare(torch.nn.Linear(1, 1, bias=False))
loss = model(torch.tensor([[6.0]])).sum()
accelerator.backward(loss)
print(model.weight.grad.item())
PYTHON
plain=$("$python" gradient.py argument 2>plain.err)
export ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4
argument=$("$python" gradient.py argument 2>argument.err)
plugin=$("$python" gradient.py plugin 2>plugin.err)
echo "gradient without the variable: $plain"
echo "gradient with it, argument gradient_accumulation_steps=1: $argument"
echo "gradient with it, GradientAccumulationPlugin(num_steps=1): $plugin"
echo "standard error with it and the argument: $(cat argument.err)"
[ "$plain $argument $plugin" = "6.0 1.5 6.0" ] || { echo "the behaviour has changed"; exit 1; }
