"""Where a suite runs: `bench/machines/<name>.toml`, and finding out which of them this computer is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.toml_config import did_you_mean, load_toml
from wmvla.errors import UserError

MACHINES = Path(__file__).resolve().parent / "machines"
_GPU_DEVICE_NODES = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")


@dataclass(frozen=True)
class Machine:
    name: str
    accelerator: Literal["cpu", "cuda", "rocm"]
    training_processes: int
    """Processes that share one optimizer step; the batch is split evenly over them."""
    rollout_workers: int
    """Simulator processes; 0: as many as cores and memory allow. Results do not depend on it."""
    precision: Literal["fp32", "bf16"]
    default_scale: str


def known_machines(folder: Path = MACHINES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_machine(name: str, folder: Path = MACHINES) -> Machine:
    """The machine called `name`; UserError lists the known ones."""
    known = known_machines(folder)
    if name not in known:
        raise UserError(f"unknown machine '{name}'; {did_you_mean(name, known)}")
    path = folder / f"{name}.toml"
    machine = load_toml(path, Machine)
    if machine.name != name:
        raise UserError(f"{path}: 'name' is '{machine.name}' but the file is '{name}.toml'; make them equal")
    for key, least in (("training_processes", 1), ("rollout_workers", 0)):
        if getattr(machine, key) < least:
            raise UserError(f"{path}: '{key}' must be at least {least}, not {getattr(machine, key)}")
    return machine


def detect_machine() -> str:
    """``cuda``, ``rocm`` or ``cpu``: what torch finds here.

    Non-obvious: without a GPU device node under /dev torch cannot find a GPU, so it is not imported, which
    saves seconds.
    """
    if not any(any(Path("/dev").glob(pattern)) for pattern in _GPU_DEVICE_NODES):
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return "rocm" if torch.version.hip else "cuda"
