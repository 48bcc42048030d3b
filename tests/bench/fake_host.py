"""Other computers: files below a folder, the answers of their vendors' programs, and the vendors'
modules."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.host.calls import Call


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def answers(**by_program: str | Exception) -> Call:
    """A computer on which these programs give these answers, and no other is there."""

    def call(command: Sequence[str]) -> str | None:
        answer = by_program.get(command[0].replace("-", "_"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def modules(**by_name: Any) -> Callable[[str], Any]:
    """A computer on which these modules can be imported, and no other."""

    def load(name: str) -> Any:
        if name not in by_name:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return by_name[name]

    return load


class Amdsmi:
    """AMD's module on a computer whose GPUs have these energies, in ticks of 15.3 microjoules, and
    these performance levels."""

    class AmdSmiException(Exception):  # noqa: N818 - its name there
        pass

    def __init__(
        self, ticks: Sequence[int] = (), levels: Sequence[str] = (), key: str = "energy_accumulator"
    ) -> None:
        self.ticks, self.levels, self.key = list(ticks), list(levels), key

    def amdsmi_init(self) -> None:
        pass

    def amdsmi_get_processor_handles(self) -> list[int]:
        return list(range(max(len(self.ticks), len(self.levels))))

    def amdsmi_get_energy_count(self, gpu: int) -> dict[str, Any]:
        return {self.key: self.ticks[gpu], "counter_resolution": 15.3, "timestamp": 1}

    def amdsmi_get_gpu_perf_level(self, gpu: int) -> str:
        return f"AMDSMI_DEV_PERF_LEVEL_{self.levels[gpu]}"


class Nvml:
    """NVIDIA's module on a computer with these GPUs: their millijoules, persistence modes and the
    reasons of their clocks. `broken`: a function that answers with an error."""

    NVML_FEATURE_ENABLED = 1
    nvmlClocksEventReasonHwSlowdown = 8  # noqa: N815
    nvmlClocksEventReasonSwThermalSlowdown = 32  # noqa: N815

    class NVMLError(Exception):
        pass

    def __init__(
        self,
        millijoules: Sequence[int] = (),
        persistence: Sequence[int] = (),
        reasons: Sequence[int] = (),
        broken: str = "",
    ) -> None:
        self.millijoules, self.persistence = list(millijoules), list(persistence)
        self.reasons, self.broken = list(reasons), broken

    def _answer(self, function: str, value: Any) -> Any:
        if function == self.broken:
            raise self.NVMLError("Not Supported")
        return value

    def nvmlInit(self) -> None:  # noqa: N802
        self._answer("nvmlInit", None)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.persistence)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index >= max(len(self.millijoules), len(self.persistence)):
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: int) -> int:  # noqa: N802
        return int(self._answer("nvmlDeviceGetTotalEnergyConsumption", self.millijoules[gpu]))

    def nvmlDeviceGetPersistenceMode(self, gpu: int) -> int:  # noqa: N802
        return self.persistence[gpu]

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: int) -> int:  # noqa: N802
        return int(self._answer("nvmlDeviceGetCurrentClocksEventReasons", self.reasons[gpu]))
