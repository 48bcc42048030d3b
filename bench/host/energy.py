"""Energy that a piece of work took, where the hardware counts it: joules, from the vendor's own
counter, read twice.

- NVIDIA: ``nvmlDeviceGetTotalEnergyConsumption`` of the driver's library, millijoules, from Volta
  on.
- AMD: the energy accumulator times its resolution, as ``amd-smi`` or ``rocm-smi`` multiply it.
- without a GPU: the packages of ``/sys/class/powercap/intel-rapl``, microjoules, which AMD's
  processors have too.

A counter is the whole device's: what a neighbour does on it counts too, and an idle device counts.
It moves on every 1 to 100 ms, so a region of a second or more is worth measuring. Nothing is
estimated: without a counter there is no figure, and `NotTold` says why.

Non-obvious: as in `bench.doctor.advice`, files are read below a root folder, programs called
through a function, and NVIDIA's library loaded through one, so that a test can play any machine.
"""

import ctypes
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.host.calls import ROOT, Call, call
from bench.host.hardware import Accelerator

_NVML_SUCCESS = 0
_MASKS = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
}


class NotTold(Exception):  # noqa: N818 - no fault: it is an answer
    """Why this computer does not tell its energy."""


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
    load: Callable[[str], Any] = ctypes.CDLL,
    environment: Mapping[str, str] = os.environ,
) -> Counter:
    """The energy counter of the first `devices` GPUs that this process may see, or of the processor
    without a GPU.

    Raises:
        NotTold: there is none, it cannot be read, or which GPU is whose cannot be known.
    """
    if accelerator == "cpu":
        return _rapl(root)
    indices = _visible(accelerator, devices, environment)
    counter = _nvidia(indices, load) if accelerator == "cuda" else _amd(indices, call)
    counter.read()
    return counter


def reading(counter: Counter | None) -> dict[str, float] | None:
    """Joules so far; None where there is no counter, or where it does not answer any more."""
    if counter is None:
        return None
    try:
        return counter.read()
    except (NotTold, RuntimeError):
        return None


def _visible(accelerator: Accelerator, devices: int, environment: Mapping[str, str]) -> list[int]:
    """Numbers of the GPUs as the vendor's tool counts them: on a board of equal GPUs torch counts
    them likewise."""
    mask = next((environment[name] for name in _MASKS[accelerator] if environment.get(name)), "")
    if not mask:
        return list(range(devices))
    if not all(entry.strip().isdigit() for entry in mask.split(",")):
        raise NotTold(f"GPUs are chosen by '{mask}', not by number")
    return [int(entry) for entry in mask.split(",")][:devices]


def _nvidia(indices: list[int], load: Callable[[str], Any]) -> Counter:
    try:
        library = load("libnvidia-ml.so.1")
    except OSError:
        raise NotTold("no libnvidia-ml.so.1 here") from None

    def ask(function: str, *arguments: Any) -> None:
        code = getattr(library, function)(*arguments)
        if code != _NVML_SUCCESS:
            raise NotTold(f"{function} answered with code {code}")

    ask("nvmlInit_v2")

    def read() -> dict[str, float]:
        found = {}
        for index in indices:
            device, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
            ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
            ask("nvmlDeviceGetTotalEnergyConsumption", device, ctypes.byref(millijoules))
            found[f"GPU {index}"] = millijoules.value / 1e3
        return found

    return Counter("NVML", read)


def _amd(indices: list[int], call: Call) -> Counter:
    """Of the two tools the one that is here and tells; ``amd-smi`` is the newer."""
    tools = {
        "amd-smi": (["amd-smi", "metric", "--energy", "--json"], _amd_smi),
        "rocm-smi": (["rocm-smi", "--showenergycounter", "--json"], _rocm_smi),
    }
    reasons = []
    for name, (command, parse) in tools.items():

        def read(
            command: list[str] = command, parse: Callable[[Any], dict[int, float]] = parse
        ) -> dict[str, float]:
            answer = call(command)
            if answer is None:
                raise NotTold(f"no {command[0]} here")
            try:
                found = parse(json.loads(answer))
                return {f"GPU {index}": found[index] for index in indices}
            except (ValueError, KeyError, TypeError, AttributeError):
                raise NotTold(
                    f"{command[0]} names no energy of GPU {', '.join(map(str, indices))}"
                ) from None

        try:
            read()
        except (NotTold, RuntimeError) as error:
            reasons.append(str(error))
            continue
        return Counter(name, read)
    raise NotTold("; ".join(reasons))


def _amd_smi(answer: Any) -> dict[int, float]:
    """Joules by GPU. Versions differ in whether the list of GPUs is wrapped, and a number may be a
    value with its unit."""
    found = {}
    for gpu in answer["gpu_data"] if isinstance(answer, dict) else answer:
        told = gpu["energy"]["total_energy_consumption"]
        if isinstance(told, dict):
            if told["unit"] != "J":
                raise ValueError(told["unit"])
            told = told["value"]
        found[int(gpu["gpu"])] = float(told)
    return found


def _rocm_smi(answer: Any) -> dict[int, float]:
    """Joules by GPU; the tool tells microjoules."""
    return {
        int(card.removeprefix("card")): float(told["Accumulated Energy (uJ)"]) / 1e6
        for card, told in answer.items()
        if card.startswith("card")
    }


def _rapl(root: Path) -> Counter:
    """The processor's packages. Non-obvious: domains inside a package (cores, memory) are part of
    it, and are left out."""
    folders = sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]*"))
    packages = {folder.name: folder for folder in folders if folder.name.count(":") == 1}
    if not packages:
        raise NotTold("no /sys/class/powercap/intel-rapl here (virtual machines have none)")

    def read(file: str = "energy_uj") -> dict[str, float]:
        try:
            return {
                name: int((folder / file).read_text()) / 1e6 for name, folder in packages.items()
            }
        except OSError as error:
            raise NotTold(f"{error.filename}: {error.strerror}") from None

    read()
    return Counter("RAPL", read, read("max_energy_range_uj"))
