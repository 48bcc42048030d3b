"""Energy counters of machines that are played: the vendors' answers in the form that their tools
give, files below a folder."""

import json
from pathlib import Path

import pynvml
import pytest
from fake_host import Amdsmi, Nvml, answers, modules, put

from bench.host.energy import NoReading, find_counter

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


def test_nvidias_counter_is_in_millijoules() -> None:
    nvml = Nvml([2_000_000_000_000, 500])
    counter = find_counter("cuda", 2, load=modules(pynvml=nvml), environment={})
    before = counter.read()
    nvml.millijoules = [2_000_000_012_500, 1500]
    assert counter.spent(before, counter.read()) == pytest.approx(13.5)
    assert counter.source == "NVML"


def test_the_gpus_are_those_that_this_process_may_see() -> None:
    load = modules(pynvml=Nvml([1000, 7000]))
    assert find_counter("cuda", 1, load=load, environment={"CUDA_VISIBLE_DEVICES": "1"}).read() == {
        "GPU 1": 7.0
    }
    with pytest.raises(NoReading, match="GPUs are chosen by 'GPU-12ab', not by number"):
        find_counter("cuda", 1, load=load, environment={"CUDA_VISIBLE_DEVICES": "GPU-12ab"})


def test_nvidia_without_library_gpu_or_counter() -> None:
    with pytest.raises(NoReading, match="NVML: Invalid Argument"):
        find_counter("cuda", 2, load=modules(pynvml=Nvml([1])), environment={})
    broken = Nvml([1], broken="nvmlDeviceGetTotalEnergyConsumption")
    with pytest.raises(NoReading, match="NVML: Not Supported"):
        find_counter("cuda", load=modules(pynvml=broken), environment={})


def test_the_module_itself_where_there_is_no_driver() -> None:
    """Its names are those that are asked for; what it answers is of this computer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(NoReading, match=r"NVML: .*Not Found"):
            find_counter("cuda", environment={})
    else:
        assert set(find_counter("cuda", environment={}).read()) == {"GPU 0"}
    for name in dir(Nvml):
        assert name.startswith("_") or hasattr(pynvml, name), name


@pytest.mark.parametrize("key", ["energy_accumulator", "power"])
def test_amds_counter_is_in_ticks(key: str) -> None:
    smi = Amdsmi([1_000_000, 2_000_000], key=key)
    counter = find_counter("rocm", 2, load=modules(amdsmi=smi), environment={})
    assert counter.source == "amdsmi"
    assert counter.read() == {"GPU 0": pytest.approx(15.3), "GPU 1": pytest.approx(30.6)}


@pytest.mark.parametrize(
    ("smi", "why"), [(Amdsmi([1]), "IndexError"), (Amdsmi([1, 1], key="another"), "TypeError")]
)
def test_amdsmi_that_does_not_say_it(smi: Amdsmi, why: str) -> None:
    with pytest.raises(NoReading, match=f"amdsmi: {why}"):
        find_counter("rocm", 2, load=modules(amdsmi=smi), environment={})


def test_rocm_smi_where_there_is_no_amdsmi() -> None:
    call = answers(rocm_smi=json.dumps(ROCM_SMI))
    counter = find_counter("rocm", 1, load=modules(), call=call, environment={})
    assert counter.source == "rocm-smi"
    assert counter.read() == {"GPU 0": pytest.approx(1.00410841)}
    with pytest.raises(NoReading, match="No module named 'amdsmi'; no rocm-smi here"):
        find_counter("rocm", 1, load=modules(), call=answers(), environment={})
    for answer in ("{}", "N/A", '{"card0": "N/A"}'):
        with pytest.raises(NoReading, match="rocm-smi reports no energy for GPU 0"):
            find_counter("rocm", 1, load=modules(), call=answers(rocm_smi=answer), environment={})


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
    with pytest.raises(NoReading, match="virtual machines have none"):
        find_counter("cpu", root=tmp_path)
    put(tmp_path, RAPL)
    (tmp_path / "sys/class/powercap/intel-rapl:1/energy_uj").unlink()
    with pytest.raises(NoReading, match="intel-rapl:1/energy_uj: No such file"):
        find_counter("cpu", root=tmp_path)
