#!/usr/bin/env bash
# transformers 5.5.4: an encoder whose keys have an unknown prefix loads with random weights.
#
# `VJEPA2Model.from_pretrained(folder)` finds none of the folder's weights if their names begin with
# a wrapper's name (`encoder_model.`, `backbone.`, `module.`). It draws all weights anew, logs a
# table, and returns the model; two loads give two models. A program that sets transformers'
# verbosity to errors shows nothing at all. (The prefix `vjepa2.` is known to it and loads.)
# What to do: ask for `output_loading_info=True` and refuse missing and unexpected keys.
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install transformers==5.5.4 torch==2.11.0 safetensors==0.8.0 numpy==2.2.6
"$python" - <<'PYTHON'
import sys
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file

warnings.simplefilter("error")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
tiny = {"num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 32}
predictor = {f"pred_{key}": value for key, value in tiny.items()}
config = transformers.VJEPA2Config(crop_size=32, frames_per_clip=2, **tiny, **predictor)
model = transformers.VJEPA2Model(config)
model.save_pretrained("encoder")
weights = load_file("encoder/model.safetensors")


def equal(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


seen = {}
for prefix in ("", "vjepa2.", "backbone.", "encoder_model."):
    named = {prefix + key: tensor for key, tensor in weights.items()}
    save_file(named, "encoder/model.safetensors", metadata={"format": "pt"})
    first, second = (transformers.VJEPA2Model.from_pretrained("encoder") for _ in range(2))
    _, info = transformers.VJEPA2Model.from_pretrained("encoder", output_loading_info=True)
    seen[prefix] = equal(first, model), equal(first, second), len(info["missing_keys"])
    said = "prefix {!r}: as saved {}, two loads equal {}, {} keys missing"
    print(said.format(prefix, *seen[prefix]))
good, bad = (True, True, 0), (False, False, len(weights))
same = [*seen.values()] == [good, good, bad, bad]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
