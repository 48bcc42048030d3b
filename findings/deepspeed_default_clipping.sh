#!/usr/bin/env bash
# deepspeed 0.19.8
set -euo pipefail
. "$(dirname "$0")/environment.bash"
install deepspeed==0.19.8 torch==2.11.0 numpy==2.2.6
export DS_ACCELERATOR=cpu
cat >clip.py <<'PYTHON'
import json
import sys

import deepspeed
import torch

config = {"train_batch_size": 1, "zero_optimization": {"stage": 1}} | json.loads(sys.argv[1])
model = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.zeros_(model.weight)
engine, *_ = deepspeed.initialize(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0), config=config)
loss = engine(torch.tensor([[5.0]])).sum()
engine.backward(loss)
engine.step()
print("weight", model.weight.item(), "norm", engine.get_global_grad_norm(), "clip", engine.gradient_clipping())
PYTHON
for more in '{}' '{"gradient_clipping": 0}' '{"gradient_clipping": 100}'; do
    MASTER_ADDR=127.0.0.1 MASTER_PORT=29511 RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 timeout 200 "$python" clip.py "$more" 2>err || tail -5 err
done
