#!/usr/bin/env bash
# torch 2.11.0, safetensors 0.8.0: a strict load checks names and shapes, not types.
#
# `load_state_dict(strict=True)` copies each tensor into the type that the module has. A float32
# statistic that meets an int64 buffer is cut to a whole number: a std of 0.7 becomes 0, and what
# is divided by it becomes inf. int8 numbers of a quantised checkpoint become weights of up to 127.
# safetensors keeps the type in the file, so nothing is wrong there. No error, no warning.
# What to do: compare the types of the file's tensors with the module's before a load.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install torch==2.11.0 safetensors==0.8.0 numpy==2.2.6
"$python" - <<'PYTHON'
import sys
import warnings

import torch
from safetensors.torch import load_file, save_file

warnings.simplefilter("error")


class Normaliser(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.register_buffer("std", torch.ones(3, dtype=torch.int64))


numbers = {
    "std": torch.tensor([0.7, 1.9, 0.2]),
    "weight": torch.tensor([127, -128, 1], dtype=torch.int8),
}
save_file(numbers, "model.safetensors")
found = load_file("model.safetensors")
print("in the file:", found)
module = Normaliser()
print("answer of the load:", module.load_state_dict(found, strict=True))
print("in the module:", dict(module.state_dict()))
same = module.std.tolist() == [0, 1, 0] and module.weight.tolist() == [127.0, -128.0, 1.0]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
