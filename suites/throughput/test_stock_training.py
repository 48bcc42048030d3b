"""Training samples/s of our loop against stock ``lerobot-train``: same checkpoint, data, batch.

Each side is its own command, in a process of its own, for few steps and for many; the difference is
what steps cost, without start-up: imports, opening the data (ours decodes all of it once), the
checkpoint at the end. On a GPU the policy has the published size with random weights, on a CPU it
is tiny. Images are not augmented on either side.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clocks import children_cpu_seconds

from conftest import Here

STEPS = {
    "cpu": {"lerobot": (2, 22), "ours": (2, 102)},
    "cuda": {"lerobot": (20, 120), "ours": (20, 120)},
}
"""Few and many: on a CPU so many that they cost seconds more, for a start varies by tenths."""
BATCH = {"cpu": 32, "cuda": 32}
READERS = {"cpu": 0, "cuda": 4}
"""LeRobot's ``num_workers``: its default where there are cores for them."""
IMAGE = {"cpu": 64, "cuda": 256}
"""Pixels of a side in the dataset: the mini scale's, and those of published demonstrations."""
EPISODES = (130, 120)
LEAST_RATIO = 1.3
"""Issue 6, where a GPU is at hand."""


@pytest.fixture(scope="module")
def parts(here: Here, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The dataset, and a SmolVLA checkpoint with its processors, as stock LeRobot writes one."""
    from lerobot.datasets import LeRobotDatasetMetadata
    from lerobot.policies.factory import make_pre_post_processors
    from model_sizes import make_policy, make_vlm, policy_config, size_for
    from noise_dataset import REPO_ID, write_noise

    from wmvla.sim.libero.language import task_sentences

    root, size = tmp_path_factory.mktemp("stock"), size_for(here.device)
    dataset = write_noise(root / "dataset", IMAGE[here.device], EPISODES)
    config = policy_config("E0", make_vlm(root / "vlm", size, task_sentences()), size, here.device)
    make_policy(config).save_pretrained(root / "base")
    statistics = LeRobotDatasetMetadata(REPO_ID, root=dataset).stats
    for processor in make_pre_post_processors(config, dataset_stats=statistics):
        processor.save_pretrained(root / "base")
    return dataset, root / "base"


def spent_by(command: list[str], log: Path, here: Here) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a command that ends well."""
    threads = {"OMP_NUM_THREADS": "1"} if here.device == "cpu" else {}
    offline = {**os.environ, **threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    began, before = time.monotonic(), children_cpu_seconds()
    with log.open("w") as output:
        ended = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=offline, timeout=1800, check=False
        )
    assert ended.returncode == 0, log.read_text()[-3000:]
    return time.monotonic() - began, children_cpu_seconds() - before


def lerobots(here: Here, dataset: Path, base: Path, out: Path, steps: int) -> list[str]:
    from noise_dataset import REPO_ID

    return [
        str(Path(sys.executable).parent / "lerobot-train"),
        f"--policy.path={base}",
        f"--policy.device={here.device}",
        f"--policy.use_amp={str(here.machine.precision == 'bf16').lower()}",
        "--policy.push_to_hub=false",
        f"--dataset.repo_id={REPO_ID}",
        f"--dataset.root={dataset}",
        f"--batch_size={BATCH[here.device]}",
        f"--num_workers={READERS[here.device]}",
        f"--steps={steps}",
        f"--save_freq={steps}",
        f"--output_dir={out}",
    ]


def ours(here: Here, dataset: Path, base: Path, out: Path, steps: int) -> list[str]:
    from noise_dataset import REPO_ID

    from wmvla.recipe import Training
    from wmvla.train.job import TrainingJob

    job = TrainingJob(
        case="E0",
        dataset_root=str(dataset),
        dataset_repo_id=REPO_ID,
        checkpoints=str(out / "checkpoints"),
        metrics=str(out / "metrics.jsonl"),
        seed=0,
        training=Training(
            steps=steps,
            batch_size=BATCH[here.device],
            learning_rate=1e-4,
            warmup_steps=steps,
            save_every=steps,
        ),
        device=here.device,
        precision=here.machine.precision,
        base=str(base),
    )
    return [sys.executable, "-m", "wmvla.train.main", str(job.write(out / "job.json"))]


SIDES: dict[str, Callable[..., list[str]]] = {"lerobot": lerobots, "ours": ours}


def test_our_loop_against_stock_lerobot_train(
    benchmark: Any,
    here: Here,
    measured: Callable[..., None],
    parts: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """The benchmark's time is of all four trainings. The ratio: wall on a GPU, CPU on a CPU."""
    costs: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}

    def all_four() -> None:
        for turn in (0, 1):
            for side, command in SIDES.items():
                out, log = tmp_path / f"{side}-{turn}", tmp_path / f"{side}-{turn}.log"
                costs[side].append(
                    spent_by(command(here, *parts, out, STEPS[here.device][side][turn]), log, here)
                )

    benchmark.pedantic(all_four, rounds=1)
    rates, cpu = {}, {}
    for side, (first, second) in costs.items():
        few, many = STEPS[here.device][side]
        samples = (many - few) * BATCH[here.device]
        rates[side] = samples / (second[0] - first[0])
        cpu[side] = 1e3 * (second[1] - first[1]) / samples
        assert min(rates[side], cpu[side]) > 0, "more steps cost more"
    ratios = {
        "wall_ratio": rates["ours"] / rates["lerobot"],
        "cpu_ratio": cpu["lerobot"] / cpu["ours"],
    }
    ratio = ratios["wall_ratio" if here.device == "cuda" else "cpu_ratio"]
    measures = {f"{side}_samples_per_second": rate for side, rate in rates.items()}
    measures |= {f"{side}_cpu_milliseconds_per_sample": spent for side, spent in cpu.items()}
    measured("against_lerobot_train", ratio, "x", **ratios, **measures, batch=BATCH[here.device])
    if here.device == "cuda" and ratio < LEAST_RATIO:
        pytest.xfail(
            f"our loop is {ratio:.2f} times as fast as lerobot-train; the goal is {LEAST_RATIO}"
        )
