"""Where a suite runs: `bench/plan/machines/<name>.toml`, and which of them this computer is."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.formats.toml import read_toml
from bench.host import hardware
from bench.host.hardware import Accelerator
from bench.plan.machine_performance import Performance, performance_faults
from wmvla.documents import build, did_you_mean
from wmvla.errors import UserError
from wmvla.ranges import Natural, Positive

MACHINES = Path(__file__).resolve().parent / "machines"
_GPU_DEVICE_NODES = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")


@dataclass(frozen=True)
class Machine:
    """What a plan says of the machine. Its speed, which changes no result: `load_performance`."""

    name: str
    accelerator: Accelerator
    training_processes: Positive
    """Processes that share an optimizer step, one a GPU of all nodes; the batch is split evenly."""
    rollout_workers: Natural
    """Simulator processes; 0: as many as cores and memory allow. Results do not depend on it."""
    precision: Literal["fp32", "bf16"]
    default_scale: str
    strategy: Literal["ddp", "zero1", "zero2", "zero3", "fsdp"] = "ddp"
    """What training processes share (docs/training.md). Losses depend on it by rounding only."""
    accumulation_steps: Positive = 1
    """Parts in which a process works off its share of a batch that memory cannot take at once."""
    nodes: Positive = 1
    """Computers that a training is spread over evenly, by Slurm. All else runs on one of them."""
    cache_vision: bool = False
    """Whether images are encoded once for all trainings with frozen vision (docs/training.md)."""

    @property
    def processes_per_node(self) -> int:
        return self.training_processes // self.nodes


def known_machines(folder: Path = MACHINES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_machine(name: str, folder: Path = MACHINES) -> Machine:
    """The machine called `name`; UserError lists the known ones."""
    return _load(name, folder)[0]


def load_performance(name: str, folder: Path = MACHINES) -> Performance:
    """What the machine called `name` can do: peaks, and references where it was measured."""
    return _load(name, folder)[1]


def detect_accelerator() -> Accelerator:
    """``cuda``, ``rocm`` or ``cpu``: what torch finds here. UserError: a GPU and no usable torch.
    Non-obvious: without a GPU device node torch is not asked, which saves seconds."""
    if not any(any(Path("/dev").glob(pattern)) for pattern in _GPU_DEVICE_NODES):
        return "cpu"
    try:
        build = hardware.torch_build()
    except RuntimeError as error:
        raise UserError(
            f"there is a GPU here, but torch cannot be asked about it ({error}); fix torch, or "
            "give --machine=cpu"
        ) from None
    if not build["devices"]:
        return "cpu"
    return "rocm" if build["hip"] else "cuda"


def detect_machine() -> str:
    """The machine that this computer is by its GPUs, ``cuda``, ``rocm`` or ``cpu`` if none."""
    accelerator = detect_accelerator()
    if accelerator == "cpu":
        return "cpu"
    devices = hardware.torch_build()["devices"]
    return choose_machine(accelerator, [device["name"] for device in devices])


def choose_machine(accelerator: Accelerator, devices: Sequence[str]) -> str:
    """The machine for GPUs of these names: the one that trains on most of them. Non-obvious: GPUs
    of several kinds are no known machine; the generic one trains on one of them."""
    fitting: list[tuple[int, str]] = [(1, accelerator)]
    for name in known_machines():
        machine, performance = _load(name, MACHINES)
        kind = performance.device
        named = kind and all(re.search(kind, device) for device in devices)
        fits = named and machine.accelerator == accelerator
        if fits and machine.nodes == 1 and machine.training_processes <= len(devices):
            fitting.append((machine.training_processes, name))
    most = max(processes for processes, _ in fitting)
    return [name for processes, name in fitting if processes == most][-1]


def _load(name: str, folder: Path) -> tuple[Machine, Performance]:
    known = known_machines(folder)
    if name not in known:
        raise UserError(f"unknown machine '{name}'; {did_you_mean(name, known)}")
    path = folder / f"{name}.toml"
    content = read_toml(path)
    keys = {field.name for field in dataclasses.fields(Performance)}
    fast: dict[str, Any] = {key: content.pop(key) for key in keys & set(content)}
    machine = build(Machine, content, str(path))
    performance = build(Performance, fast, str(path))
    faults = itertools.chain(_faults(machine, name), performance_faults(performance))
    if fault := next(faults, None):
        raise UserError(f"{path}: {fault}")
    return machine, performance


def _faults(machine: Machine, file: str) -> Iterator[str]:
    """What types cannot say."""
    if machine.name != file:
        yield f"'name' is {machine.name!r} but the file is '{file}.toml'; make them equal"
    if machine.training_processes % machine.nodes:
        yield (
            f"'training_processes' is {machine.training_processes}, for all nodes together, but "
            f"not a multiple of 'nodes' = {machine.nodes}; make it one"
        )
    if machine.strategy != "ddp" and machine.training_processes < 2:
        yield (
            f"'strategy' is '{machine.strategy}', which splits the policy over several processes, "
            "but there is only one; use 'ddp'"
        )
