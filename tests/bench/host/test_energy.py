"""Energy counters of machines that are played: the vendors' answers in the form that their tools
give, files below a folder."""

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_host import answers, put

from bench.host.energy import NotTold, find_counter

AMD_SMI = [
    {"gpu": gpu, "energy": {"total_energy_consumption": {"value": 906.5 + gpu, "unit": "J"}}}
    for gpu in range(2)
]
ROCM_SMI = {
    "card0": {"Energy counter": "65628", "Accumulated Energy (uJ)": "1004108.41"},
    "card1": {"Energy counter": "59230", "Accumulated Energy (uJ)": "906219.01"},
    "system": {"Driver version": "6.2.4"},
}
RAPL = {
    "sys/class/powercap/intel-rapl:0/energy_uj": "262143000000",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "5",
    "sys/class/powercap/intel-rapl:1/energy_uj": "1000000",
    "sys/class/powercap/intel-rapl:1/max_energy_range_uj": "262143328850",
}


class Nvml:
    """NVIDIA's library with two GPUs, whose counters the test sets; what it writes goes through
    pointers, as in C."""

    def __init__(self, millijoules: list[int], code: int = 0) -> None:
        self.millijoules, self.code = millijoules, code

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, device: Any) -> int:  # noqa: N802
        device._obj.value = 100 + index.value
        return 0 if index.value < len(self.millijoules) else 2

    def nvmlDeviceGetTotalEnergyConsumption(self, device: ctypes.c_void_p, energy: Any) -> int:  # noqa: N802
        assert device.value is not None
        energy._obj.value = self.millijoules[device.value - 100]
        return self.code


def library(nvml: Nvml) -> Callable[[str], Nvml]:
    def load(name: str) -> Nvml:
        assert name == "libnvidia-ml.so.1"
        return nvml

    return load


def test_nvidias_counter_is_in_millijoules() -> None:
    nvml = Nvml([2_000_000_000_000, 500])
    counter = find_counter("cuda", 2, load=library(nvml), environment={})
    before = counter.read()
    nvml.millijoules = [2_000_000_012_500, 1500]
    assert counter.spent(before, counter.read()) == pytest.approx(13.5)
    assert counter.source == "NVML"


def test_the_gpus_are_those_that_this_process_may_see() -> None:
    nvml = Nvml([1000, 7000])
    assert find_counter(
        "cuda", 1, load=library(nvml), environment={"CUDA_VISIBLE_DEVICES": "1"}
    ).read() == {"GPU 1": 7.0}
    with pytest.raises(NotTold, match="GPUs are chosen by 'GPU-12ab', not by number"):
        find_counter(
            "cuda", 1, load=library(nvml), environment={"CUDA_VISIBLE_DEVICES": "GPU-12ab"}
        )


def test_nvidia_without_library_gpu_or_counter() -> None:
    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(NotTold, match="no libnvidia-ml"):
        find_counter("cuda", load=absent, environment={})
    with pytest.raises(NotTold, match="nvmlDeviceGetHandleByIndex_v2 answered with code 2"):
        find_counter("cuda", 2, load=library(Nvml([1])), environment={})
    with pytest.raises(NotTold, match="nvmlDeviceGetTotalEnergyConsumption answered with code 3"):
        find_counter("cuda", load=library(Nvml([1], code=3)), environment={})


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_amd_smi(wrapped: bool, bare: bool) -> None:
    told: Any = (
        [{**gpu, "energy": {"total_energy_consumption": 906.5 + gpu["gpu"]}} for gpu in AMD_SMI]
        if bare
        else AMD_SMI
    )
    call = answers(
        amd_smi=json.dumps({"gpu_data": told} if wrapped else told), rocm_smi=json.dumps(ROCM_SMI)
    )
    counter = find_counter("rocm", 2, call=call, environment={})
    assert (counter.source, counter.read()) == ("amd-smi", {"GPU 0": 906.5, "GPU 1": 907.5})


@pytest.mark.parametrize(
    "first",
    [
        None,
        "N/A",
        RuntimeError("amd-smi gave no answer in 30 s"),
        '[{"gpu": 0, "energy": "N/A"}]',
        "{}",
    ],
)
def test_rocm_smi_where_amd_smi_is_absent_or_does_not_tell(first: Any) -> None:
    programs = {} if first is None else {"amd_smi": first}
    counter = find_counter(
        "rocm", 1, call=answers(**programs, rocm_smi=json.dumps(ROCM_SMI)), environment={}
    )
    assert counter.source == "rocm-smi"
    assert counter.read() == {"GPU 0": pytest.approx(1.00410841)}
    with pytest.raises(NotTold, match="no rocm-smi here"):
        find_counter("rocm", 1, call=answers(**programs), environment={})


def test_an_energy_in_another_unit_is_not_taken_for_joules() -> None:
    told = [{"gpu": 0, "energy": {"total_energy_consumption": {"value": 1, "unit": "kJ"}}}]
    with pytest.raises(NotTold, match="amd-smi names no energy of GPU 0; no rocm-smi here"):
        find_counter("rocm", 1, call=answers(amd_smi=json.dumps(told)), environment={})


def test_a_processors_packages_wrap(tmp_path: Path) -> None:
    counter = find_counter("cpu", root=put(tmp_path, RAPL))
    before = counter.read()
    assert set(before) == {"intel-rapl:0", "intel-rapl:1"}
    put(
        tmp_path,
        {
            "sys/class/powercap/intel-rapl:0/energy_uj": "671150",
            "sys/class/powercap/intel-rapl:1/energy_uj": "3000000",
        },
    )
    assert counter.spent(before, counter.read()) == pytest.approx(1.0 + 2.0)


def test_a_processor_that_does_not_tell(tmp_path: Path) -> None:
    with pytest.raises(NotTold, match="virtual machines have none"):
        find_counter("cpu", root=tmp_path)
    put(tmp_path, RAPL)
    (tmp_path / "sys/class/powercap/intel-rapl:1/energy_uj").unlink()
    with pytest.raises(NotTold, match="intel-rapl:1/energy_uj: No such file"):
        find_counter("cpu", root=tmp_path)
