"""Host settings that AMD and NVIDIA recommend for training: found, recommended, and the fix.

They change speed and no result, so none of them is a fault. Sources: AMD, "AMD Instinct MI300X
system optimization" and "Prerequisite system validation before training" (ROCm documentation 6.3);
NVIDIA, "Grace CPU benchmarking guide, platform configuration" (NUMA balancing, governor) and
"Driver persistence".

Non-obvious: files are read below a root folder, the vendors' programs are called and their modules
imported through functions, so that a test can play any machine.
"""

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from bench.doctor.finding import Finding
from bench.host.calls import ROOT, Call, call
from bench.host.energy import Load

_USUAL_LEVELS = ("auto", "determinism")
"""Of AMD's performance levels: the driver chooses the clocks, or caps them. Others pin them low."""


def numa_balancing(root: Path = ROOT) -> Finding:
    """The kernel moves pages between memory nodes, and stops processes meanwhile."""
    name, path = "NUMA balance", root / "proc/sys/kernel/numa_balancing"
    nodes = len(list(root.glob("sys/devices/system/node/node[0-9]*")))
    if not path.is_file():
        return Finding(name, "this kernel has none", applicable=False)
    if nodes < 2:
        return Finding(name, f"{max(nodes, 1)} memory node", applicable=False)
    on = path.read_text().strip() != "0"
    found = f"{'on' if on else 'off'}, {nodes} memory nodes"
    fix = "sudo sysctl kernel.numa_balancing=0" if on else ""
    return Finding(name, found, fix=fix, recommended="off")


def governor(root: Path = ROOT) -> Finding:
    """How the kernel chooses the cores' clocks."""
    name = "CPU governor"
    governors = Counter(
        path.read_text().strip()
        for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    )
    if not governors:
        found = "no clock control here (on a virtual machine only the host has it)"
        return Finding(name, found, applicable=False)
    found = ", ".join(f"{which} on {cores} cores" for which, cores in sorted(governors.items()))
    fix = "" if set(governors) == {"performance"} else "sudo cpupower frequency-set -g performance"
    return Finding(name, found, fix=fix, recommended="performance")


def hugepages(root: Path = ROOT) -> Finding:
    """Transparent pages of 2 MiB: with small ones, a large memory costs address look-ups."""
    name, path = "hugepages", root / "sys/kernel/mm/transparent_hugepage/enabled"
    if not path.is_file():
        return Finding(name, "this kernel has none", applicable=False)
    words = path.read_text().split()
    chosen = next((word.strip("[]") for word in words if word.startswith("[")), "not reported")
    fix = f"echo always | sudo tee /{path.relative_to(root)}" if chosen == "never" else ""
    return Finding(name, chosen, fix=fix, recommended="always, or madvise")


def iommu(accelerator: str, root: Path = ROOT) -> Finding:
    """AMD asks that DMA of its GPUs is not translated."""
    name = "IOMMU"
    if accelerator != "rocm":
        return Finding(name, "no AMD GPU", applicable=False)
    words = (root / "proc/cmdline").read_text().split()
    if "iommu=pt" in words:
        return Finding(name, "passed through", recommended="iommu=pt")
    fix = "add iommu=pt to GRUB_CMDLINE_LINUX in /etc/default/grub, sudo update-grub, and restart"
    found = "no iommu=pt on the kernel's command line"
    return Finding(name, found, fix=fix, recommended="iommu=pt")


def gpu_clocks(
    accelerator: str, load: Load = importlib.import_module, call: Call = call
) -> Finding:
    """Whether the GPUs' clocks are left to run, by the vendor's library or tool."""
    name = "GPU clocks"
    if accelerator == "cpu":
        return Finding(name, "no GPU", applicable=False)
    try:
        if accelerator == "cuda":
            return _nvidia_clocks(name, load("pynvml"))
        return _amd_clocks(name, _performance_levels(load, call))
    except (RuntimeError, ValueError, KeyError) as error:  # of another version; it is shown
        return Finding(name, f"not reported: {error}", applicable=False)


def _nvidia_clocks(name: str, nvml: Any) -> Finding:
    slow = nvml.nvmlClocksEventReasonHwSlowdown | nvml.nvmlClocksEventReasonSwThermalSlowdown
    asleep, slowed = [], []
    try:
        nvml.nvmlInit()
        gpus = nvml.nvmlDeviceGetCount()
        for index in range(gpus):
            gpu = nvml.nvmlDeviceGetHandleByIndex(index)
            if nvml.nvmlDeviceGetPersistenceMode(gpu) != nvml.NVML_FEATURE_ENABLED:
                asleep.append(str(index))
            if nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu) & slow:
                slowed.append(str(index))
    except nvml.NVMLError as error:
        raise RuntimeError(f"NVML: {error}") from None
    found = f"{gpus} GPUs, persistence {f'off on GPU {", ".join(asleep)}' if asleep else 'on'}"
    found += f", slowed down: GPU {', '.join(slowed)}" if slowed else ", none slowed down"
    fixes = ["sudo nvidia-smi -pm 1"] if asleep else []
    fixes += ["fix cooling or power: nvidia-smi -q -d PERFORMANCE shows which"] if slowed else []
    return Finding(
        name, found, fix="; ".join(fixes), recommended="persistence on, none slowed down"
    )


def _amd_clocks(name: str, reported: list[str]) -> Finding:
    levels = Counter(level.lower().removeprefix("amdsmi_dev_perf_level_") for level in reported)
    found = ", ".join(f"{level} on {gpus} GPUs" for level, gpus in sorted(levels.items()))
    usual = all(level.startswith(_USUAL_LEVELS) for level in levels)
    fix = "" if usual else "sudo rocm-smi --setperflevel auto"
    return Finding(name, f"performance level {found}", fix=fix, recommended="auto or determinism")


def _performance_levels(load: Load, call: Call) -> list[str]:
    """One a GPU, by amdsmi or else ``rocm-smi``. RuntimeError, ValueError, KeyError: by neither."""
    try:
        smi = load("amdsmi")
        smi.amdsmi_init()
        gpus = smi.amdsmi_get_processor_handles()
        return [str(smi.amdsmi_get_gpu_perf_level(gpu)) for gpu in gpus]
    except Exception as error:  # of its library, or of the driver: of many kinds
        answer = call(["rocm-smi", "--showperflevel", "--json"])
        if answer is None:
            raise RuntimeError(f"{error}; no rocm-smi here") from None
    cards = json.loads(answer)
    levels = [str(cards[card]["Performance Level"]) for card in cards if card.startswith("card")]
    if not levels:
        raise ValueError("rocm-smi reported no performance level")
    return levels
