#!/usr/bin/env bash
# lerobot 0.6.1: a normaliser that meets one whole-number input turns its statistics into int64.
#
# `NormalizerProcessorStep` converts its statistics to the type of the tensor that comes in. For an
# int64 state (joint steps, encoder counts) a mean of 10.5 becomes 10 and a std of 0.5 becomes 0, so
# the result is divided by eps = 1e-8: hundreds of millions instead of -1 to 1. No warning. What is
# saved afterwards, in `state_dict()` and so in the checkpoint, is int64 too.
# What to do: turn states and actions into float32 before the normaliser, and refuse a checkpoint
# whose statistics are not floating point.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install lerobot==0.6.1 torch==2.11.0 numpy==2.2.6
"$python" - <<'PYTHON'
import sys
import warnings

import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.processor import NormalizerProcessorStep
from lerobot.processor.converters import create_transition
from lerobot.lerobot_types import TransitionKey

warnings.simplefilter("error")
STATE = "observation.state"


def normaliser():
    return NormalizerProcessorStep(
        features={STATE: PolicyFeature(type=FeatureType.STATE, shape=(2,))},
        norm_map={FeatureType.STATE: NormalizationMode.MEAN_STD},
        stats={STATE: {"mean": [10.5, 0.0], "std": [0.5, 2.5]}},
    )


def play(step, state):
    answer = step(create_transition(observation={STATE: state}))
    return answer[TransitionKey.OBSERVATION][STATE].tolist()


fine, cut = normaliser(), normaliser()
by_float = play(fine, torch.tensor([11.0, 5.0]))
by_integer = play(cut, torch.tensor([11, 5]))
print("float32 state (11, 5) becomes", by_float)
print("int64 state (11, 5) becomes", by_integer)
saved = cut.state_dict()
print("saved afterwards:", saved)
std = saved[f"{STATE}.std"]
same = by_float == [1.0, 2.0] and by_integer[0] > 9e7 and by_integer[1] == 2.5
same = same and std.dtype == torch.int64 and std.tolist() == [0, 2]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
