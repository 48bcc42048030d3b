#!/usr/bin/env bash
# transformers 5.5.4
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install transformers==5.5.4 torch==2.11.0 safetensors==0.8.0 numpy==2.2.6
"$python" - <<'PYTHON'
import torch
from safetensors.torch import load_file, save_file
from transformers import VJEPA2Config, VJEPA2Model

config = VJEPA2Config(patch_size=16, crop_size=32, frames_per_clip=2, hidden_size=32, num_attention_heads=2, num_hidden_layers=1,
    pred_hidden_size=32, pred_num_attention_heads=2, pred_num_hidden_layers=1)
torch.manual_seed(0)
model = VJEPA2Model(config)
model.save_pretrained("good")
model.save_pretrained("prefixed")
found = load_file("good/model.safetensors")
print(list(found)[:3])
for prefix in ("encoder_model.", "vjepa2.", "backbone."):
    save_file({prefix + k: v for k, v in found.items()}, "prefixed/model.safetensors", metadata={"format": "pt"})
    a, b = (VJEPA2Model.from_pretrained("prefixed") for _ in range(2))
    same = lambda x, y: all(torch.equal(p, q) for p, q in zip(x.state_dict().values(), y.state_dict().values()))
    print(prefix, "equal to what was saved", same(model, a), "two loads equal", same(a, b))
PYTHON
