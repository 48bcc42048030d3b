"""Host checks on machines played from files below a folder and from vendors' answers; the sum is
done for real, on the CPU."""

import json
import sys
from pathlib import Path

import pytest
from fake_host import answers, put

from bench.doctor import advice, all_reduce

BALANCING = "proc/sys/kernel/numa_balancing"
HUGEPAGES = "sys/kernel/mm/transparent_hugepage/enabled"
ROCM_SMI = '{"card0": {"Performance Level": "auto"}, "card1": {"Performance Level": "manual"}}'
LEVELS = ("AMDSMI_DEV_PERF_LEVEL_AUTO", "AMDSMI_DEV_PERF_LEVEL_DETERMINISM")
AMD_SMI = json.dumps(
    {"gpu_data": [{"gpu": gpu, "perf_level": level} for gpu, level in enumerate(LEVELS)]}
)


def nodes(number: int) -> dict[str, str]:
    return {f"sys/devices/system/node/node{node}/cpulist": "0-7" for node in range(number)}


@pytest.mark.parametrize(("text", "label"), [("0", "ok"), ("1", "advice"), ("2", "advice")])
def test_numa_balancing_should_be_off(tmp_path: Path, text: str, label: str) -> None:
    found = advice.numa_balancing(put(tmp_path, {BALANCING: text, **nodes(2)}))
    assert (found.label, found.ok, found.recommended) == (label, True, "off")
    assert found.mend == ("" if text == "0" else "sudo sysctl kernel.numa_balancing=0")


def test_numa_balancing_does_not_apply_to_one_node_or_a_kernel_without(tmp_path: Path) -> None:
    assert advice.numa_balancing(put(tmp_path / "one", {BALANCING: "1", **nodes(1)})).label == "n/a"
    assert advice.numa_balancing(put(tmp_path / "without", nodes(2))).label == "n/a"


def test_every_core_should_run_at_full_clock(tmp_path: Path) -> None:
    cores = {
        f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor": "performance"
        for core in range(11)
    }
    assert advice.governor(put(tmp_path, cores)).label == "ok"
    put(tmp_path, {"sys/devices/system/cpu/cpu10/cpufreq/scaling_governor": "powersave"})
    found = advice.governor(tmp_path)
    assert (found.label, found.found) == ("advice", "performance on 10 cores, powersave on 1 cores")
    assert advice.governor(tmp_path / "virtual").label == "n/a"


@pytest.mark.parametrize(
    ("text", "found", "label"),
    [
        ("[always] madvise never", "always", "ok"),
        ("always [madvise] never", "madvise", "ok"),
        ("always madvise [never]", "never", "advice"),
    ],
)
def test_hugepages(tmp_path: Path, text: str, found: str, label: str) -> None:
    finding = advice.hugepages(put(tmp_path, {HUGEPAGES: text}))
    assert (finding.found, finding.label) == (found, label)
    assert (f"/{HUGEPAGES}" in finding.mend) == (label == "advice")


def test_iommu_is_asked_of_amd_only(tmp_path: Path) -> None:
    put(tmp_path, {"proc/cmdline": "quiet iommu=off"})
    assert advice.iommu("cuda", tmp_path).label == "n/a"
    assert advice.iommu("rocm", tmp_path).label == "advice"
    assert advice.iommu("rocm", put(tmp_path, {"proc/cmdline": "quiet iommu=pt"})).label == "ok"


@pytest.mark.parametrize(
    ("answer", "label", "words"),
    [
        (
            "0, Enabled, Not Active, Not Active\n1, Enabled, Not Active, Not Active\n",
            "ok",
            "2 GPUs, persistence on, none slowed",
        ),
        ("0, Disabled, Not Active, Not Active\n", "advice", "persistence off on GPU 0"),
        (
            "0, Enabled, Not Active, Active\n1, Enabled, Active, Not Active\n",
            "advice",
            "slowed down: GPU 0, 1",
        ),
        ("No devices were found\n", "n/a", "nvidia-smi answered 'No devices were found'"),
        (
            RuntimeError('Field "clocks_event_reasons" is not a valid field'),
            "n/a",
            "not a valid field",
        ),
    ],
)
def test_nvidia_clocks(answer: str | Exception, label: str, words: str) -> None:
    found = advice.gpu_clocks("cuda", answers(nvidia_smi=answer))
    assert found.label == label
    assert words in found.found


@pytest.mark.parametrize(
    ("call", "label", "words"),
    [
        (answers(rocm_smi=ROCM_SMI), "advice", "auto on 1 GPUs, manual on 1 GPUs"),
        (answers(amd_smi=AMD_SMI), "ok", "auto on 1 GPUs, determinism on 1 GPUs"),
        (
            answers(amd_smi=AMD_SMI.removeprefix('{"gpu_data": ').removesuffix("}")),
            "ok",
            "determinism on 1",
        ),
        (answers(rocm_smi="{}"), "n/a", "rocm-smi named no performance level"),
        (answers(rocm_smi="WARNING: no card"), "n/a", "not told"),
        (answers(), "n/a", "neither rocm-smi nor amd-smi here"),
    ],
)
def test_amd_clocks(call: advice.Call, label: str, words: str) -> None:
    found = advice.gpu_clocks("rocm", call)
    assert found.label == label
    assert words in found.found


def test_without_a_gpu_no_tool_is_called() -> None:
    assert advice.gpu_clocks("cpu", answers(nvidia_smi=RuntimeError("called"))).label == "n/a"


def test_a_program_is_called_for_real() -> None:
    assert advice.call([sys.executable, "-c", "print('here')"]) == "here\n"
    assert advice.call(["no-such-program"]) is None
    with pytest.raises(RuntimeError, match=r"^what is wrong$"):
        advice.call([sys.executable, "-c", "raise SystemExit('what is wrong')"])


def test_two_processes_add_up() -> None:
    found = all_reduce.all_reduce(0)
    assert found.label == "ok"
    assert found.found.startswith("right over 2 processes on the CPU (gloo), ")


def test_a_process_that_ends_is_a_fault_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU here: the processes for two of them cannot begin."""
    if (torch := pytest.importorskip("torch")).cuda.is_available():
        pytest.skip(f"{torch.cuda.device_count()} GPUs are here")
    found = all_reduce.all_reduce(2)
    assert found.label == "MISSING"
    assert "over 2 GPUs: " in found.found
    assert "NCCL_DEBUG" in found.mend


def test_one_gpu_has_nothing_to_sum_over() -> None:
    assert all_reduce.all_reduce(1).label == "n/a"
