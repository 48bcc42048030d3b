"""Joules that a piece of work took: the vendor's own counter, read twice.

- NVIDIA: ``nvmlDeviceGetTotalEnergyConsumption`` by nvidia-ml-py, millijoules, from Volta on.
- AMD: the accumulator times its resolution in microjoules, by amdsmi, which comes with ROCm; where
  that is not installed, what ``rocm-smi`` multiplies itself.
- without a GPU: the packages of ``/sys/class/powercap/intel-rapl``, microjoules, which AMD's
  processors have too.

A counter is the whole device's: what a neighbour does on it counts too, and an idle device counts.
It moves on every 1 to 100 ms, so a region of a second or more is worth measuring. Nothing is
estimated: without a counter there is no figure, and `NoReading` says why.

Non-obvious: as in `bench.doctor.advice`, files lie below a root folder, and programs and vendors'
modules are called through functions, so that a test can play any machine.
"""

import importlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.host.calls import ROOT, Call, call
from bench.host.hardware import Accelerator

Load = Callable[[str], Any]
"""Imports a vendor's module. ImportError where it is not there."""
_MASKS = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
}


class NoReading(Exception):  # noqa: N818 - no fault: it is an answer
    """Why this computer does not report its energy."""


@dataclass(frozen=True)
class Counter:
    """What counts energy here, part by part: GPUs, or the processor's packages."""

    source: str
    read: Callable[[], dict[str, float]]
    """Joules since some moment, by part."""
    wraps_at: Mapping[str, float] = field(default_factory=dict)
    """Joules at which a part begins again at 0."""

    def spent(self, before: Mapping[str, float], after: Mapping[str, float]) -> float:
        """Joules between two readings; a part that is less has begun again, once."""
        return sum(
            after[part] - began + (self.wraps_at.get(part, 0.0) if after[part] < began else 0.0)
            for part, began in before.items()
        )


def find_counter(
    accelerator: Accelerator,
    devices: int = 1,
    root: Path = ROOT,
    call: Call = call,
    load: Load = importlib.import_module,
    environment: Mapping[str, str] = os.environ,
) -> Counter:
    """The counter of the first `devices` GPUs that this process may see; without GPUs of the
    processor. NoReading: there is none, it cannot be read, or which GPU is whose is not known."""
    if accelerator == "cpu":
        return _rapl(root)
    indices = _visible(accelerator, devices, environment)
    counter = _nvidia(indices, load) if accelerator == "cuda" else _amd(indices, load, call)
    counter.read()
    return counter


def reading(counter: Counter | None) -> dict[str, float] | None:
    """Joules so far; None where there is no counter, or where it does not answer any more."""
    if counter is None:
        return None
    try:
        return counter.read()
    except (NoReading, RuntimeError):
        return None


def _visible(accelerator: Accelerator, devices: int, environment: Mapping[str, str]) -> list[int]:
    """Numbers of the GPUs as the vendor's tool counts them: torch counts equal GPUs likewise."""
    mask = next((environment[name] for name in _MASKS[accelerator] if environment.get(name)), "")
    if not mask:
        return list(range(devices))
    if not all(entry.strip().isdigit() for entry in mask.split(",")):
        raise NoReading(f"GPUs are chosen by '{mask}', not by number")
    return [int(entry) for entry in mask.split(",")][:devices]


def _nvidia(indices: list[int], load: Load) -> Counter:
    nvml = load("pynvml")

    def read() -> dict[str, float]:
        try:
            nvml.nvmlInit()  # counts, and costs nothing the second time
            handles = {index: nvml.nvmlDeviceGetHandleByIndex(index) for index in indices}
            joules = nvml.nvmlDeviceGetTotalEnergyConsumption
            return {f"GPU {index}": joules(handle) / 1e3 for index, handle in handles.items()}
        except nvml.NVMLError as error:
            raise NoReading(f"NVML: {error}") from None

    return Counter("NVML", read)


def _amd(indices: list[int], load: Load, call: Call) -> Counter:
    """Non-obvious: a Python environment of its own does not see ROCm's amdsmi, but ``rocm-smi``."""
    try:
        smi = load("amdsmi")
        smi.amdsmi_init()
    except Exception as error:  # of its library, or of the driver: of many kinds
        why = str(error) or type(error).__name__
    else:
        return Counter("amdsmi", lambda: _amdsmi_joules(smi, indices))

    def read() -> dict[str, float]:
        answer = call(["rocm-smi", "--showenergycounter", "--json"])
        if answer is None:
            raise NoReading(f"{why}; no rocm-smi here")
        try:
            cards = json.loads(answer)
            return {
                f"GPU {index}": float(cards[f"card{index}"]["Accumulated Energy (uJ)"]) / 1e6
                for index in indices
            }
        except (ValueError, KeyError, TypeError):
            gpus = ", ".join(map(str, indices))
            raise NoReading(f"{why}; rocm-smi reports no energy for GPU {gpus}") from None

    return Counter("rocm-smi", read)


def _amdsmi_joules(smi: Any, indices: list[int]) -> dict[str, float]:
    """Joules by GPU. Older releases call the accumulator ``power``."""
    try:
        handles = smi.amdsmi_get_processor_handles()
        found = {}
        for index in indices:
            count = smi.amdsmi_get_energy_count(handles[index])
            ticks = count.get("energy_accumulator", count.get("power"))
            found[f"GPU {index}"] = ticks * count["counter_resolution"] / 1e6
        return found
    except (smi.AmdSmiException, IndexError, KeyError, TypeError) as error:
        raise NoReading(f"amdsmi: {error!r}") from None


def _rapl(root: Path) -> Counter:
    """The processor's packages; domains inside a package (cores, memory) are part of it."""
    folders = sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]*"))
    packages = {folder.name: folder for folder in folders if folder.name.count(":") == 1}
    if not packages:
        raise NoReading("no /sys/class/powercap/intel-rapl here (virtual machines have none)")

    def read(file: str = "energy_uj") -> dict[str, float]:
        try:
            return {name: int((at / file).read_text()) / 1e6 for name, at in packages.items()}
        except OSError as error:
            raise NoReading(f"{error.filename}: {error.strerror}") from None

    read()
    return Counter("RAPL", read, read("max_energy_range_uj"))
