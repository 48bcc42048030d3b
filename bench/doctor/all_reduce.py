"""Do the devices here add up? One process a GPU (NCCL or RCCL), or two on the CPU (gloo), check.
``python -m bench.doctor.all_reduce DEVICE RANK PROCESSES RENDEZVOUS`` is one of them."""

import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.doctor.finding import Finding
from bench.host.folders import CODE

CPU_PROCESSES = 2
FLOATS = {"cpu": 2**18, "cuda": 2**26}
"""fp32 numbers in the message: 1 MiB on a CPU, 256 MiB on a GPU, where small ones time latency."""
ROUNDS = 5
SECONDS = 120


def all_reduce(gpus: int) -> Finding:
    """Sum over all GPUs, or over two CPU processes where there is no GPU."""
    if gpus == 1:
        return Finding("all-reduce", "one GPU, nothing to sum over", applicable=False)
    device, processes = ("cuda", gpus) if gpus else ("cpu", CPU_PROCESSES)
    among = f"{processes} {'GPUs' if gpus else 'processes on the CPU (gloo)'}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.doctor.all_reduce", device]
        rest = [str(processes), str(Path(folder) / "rendezvous")]
        start = functools.partial(
            subprocess.Popen,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=CODE,
        )
        children = [start([*command, str(rank), *rest]) for rank in range(processes)]
        try:
            until = time.monotonic() + SECONDS
            left = (max(0.1, until - time.monotonic()) for _ in children)
            said = [child.communicate(timeout=t) for child, t in zip(children, left, strict=True)]
        except subprocess.TimeoutExpired:
            fix = (
                "try NCCL_DEBUG=INFO wmbench doctor; on GPUs, NCCL_P2P_DISABLE=1 shows whether "
                "the links are the cause"
            )
            found = f"no result of the sum over {among} in {SECONDS} s"
            return Finding("all-reduce", found, ok=False, fix=fix)
        finally:
            for child in children:
                child.kill()
                child.wait()
    for child, (_, errors) in zip(children, said, strict=True):
        if child.returncode != 0:
            last = (errors.strip().splitlines() or [f"exited with {child.returncode}"])[-1]
            fix = "NCCL_DEBUG=INFO wmbench doctor shows more"
            return Finding("all-reduce", f"over {among}: {last}", ok=False, fix=fix)
    speed = min(float(output.split()[-1]) for output, _ in said)
    return Finding("all-reduce", f"correct over {among}, {speed:.3g} GB/s bus bandwidth")


def take_part(device: str, rank: int, processes: int, rendezvous: str) -> float:
    """One process of the sum; its bus bandwidth in GB/s. ``RuntimeError`` where the sum is wrong.

    Bus bandwidth: 2 (n - 1) / n times bytes a second, for any n (nccl-tests, doc/PERFORMANCE.md).
    """
    import torch
    from torch import distributed

    place = torch.device(device, rank) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(place)
    backend = "nccl" if device == "cuda" else "gloo"  # torch calls RCCL nccl too
    distributed.init_process_group(
        backend, init_method=f"file://{rendezvous}", rank=rank, world_size=processes
    )
    wanted = processes * (processes + 1) / 2
    best = float("inf")
    for _ in range(ROUNDS):
        message = torch.full((FLOATS[device],), rank + 1.0, device=place)
        if device == "cuda":
            torch.cuda.synchronize()
        distributed.barrier()
        began = time.perf_counter()
        distributed.all_reduce(message)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
        if not bool((message == wanted).all()):
            wrong = message.unique()[:3].tolist()
            raise RuntimeError(f"rank {rank} has a wrong sum: {wrong} instead of {wanted:g}")
    distributed.destroy_process_group()
    return 2 * (processes - 1) / processes * 4 * FLOATS[device] / best / 1e9


if __name__ == "__main__":
    print(take_part(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
