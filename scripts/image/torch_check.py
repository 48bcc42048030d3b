"""In the image build: the base's torch carries LeRobot, the plugin and DeepSpeed, and nothing is
compiled at first use.

Non-obvious: DeepSpeed compiles its kernels when one is first wanted, which takes a minute, a
compiler and a folder that may be written. Training wants none of them: AdamW is torch's, and the
all-reduce in shared memory, which DeepSpeed asks for on a CPU, is turned down by
``import_deepspeed``. Here one ZeRO-3 step of one process runs with compiling forbidden; on GPUs
DeepSpeed asks for one kernel less.
"""

import importlib.metadata
import os
import tempfile


def forbidden(builder: object, *_: object, **__: object) -> None:
    raise AssertionError(
        f"DeepSpeed would compile what {type(builder).__name__} builds, at first use"
    )


def main() -> None:
    import lerobot_policy_smolvla_world
    import torch

    from wmvla.train.parallel.zero import import_deepspeed

    deepspeed = import_deepspeed("cpu")
    from deepspeed.accelerator.cuda_accelerator import CUDA_Accelerator
    from deepspeed.ops.op_builder.builder import OpBuilder

    OpBuilder.jit_load = forbidden
    assert CUDA_Accelerator().create_op_builder("ShareMemCommBuilder") is None, (
        "DeepSpeed compiles an all-reduce for GPUs too"
    )

    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    with tempfile.NamedTemporaryFile() as store:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{store.name}", rank=0, world_size=1
        )
        layer = torch.nn.Linear(4, 4)
        config = {"train_batch_size": 1, "zero_optimization": {"stage": 3}}
        engine, *_ = deepspeed.initialize(
            model=layer, optimizer=torch.optim.AdamW(layer.parameters()), config=config
        )
        engine.backward(engine(torch.ones(1, 4)).sum())
        engine.step()
        torch.distributed.destroy_process_group()
    print(
        f"torch check: torch {torch.__version__}, deepspeed {deepspeed.__version__},"
        f" {lerobot_policy_smolvla_world.__name__}"
    )


if importlib.metadata.version("torch").endswith("+standin"):
    print("torch check: not done, the base's torch is a stand-in without code")
else:
    main()
