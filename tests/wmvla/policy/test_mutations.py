"""2,000 small changes to checkpoints and datasets: each is refused in one line, or changes nothing,
or is one that no check can know. These are counted apart, and each is in a list with its reason."""

import functools
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch
from draccus.wrappers import docstring
from huggingface_hub import constants
from lerobot.configs import PreTrainedConfig
from lerobot.configs.default import DatasetConfig
from lerobot.configs.train import TrainPipelineConfig
from safetensors.torch import load_file, save_file

from tests.wmvla.conftest import Toy
from tests.wmvla.data.conftest import video_dataset  # noqa: F401  a fixture
from tests.wmvla.policy.mutated import Part, Verdict, by_data, by_evaluation, by_suite, mutate
from tests.wmvla.policy.unknowable import is_unknowable
from wmvla.commands.convert import main as convert
from wmvla.policy.weights import WEIGHTS


@pytest.fixture
def parts(
    toy: Toy,
    base: Path,
    video_dataset: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Part]:
    """A checkpoint, one with world memory, the two models that it names, and two datasets."""
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setattr(
        constants, "HF_HUB_OFFLINE", True
    )  # a name that is no folder is not asked for
    # LeRobot reads its own source for the help of every flag, at each start
    described = functools.cache(docstring.get_attribute_docstring)
    monkeypatch.setattr(docstring, "get_attribute_docstring", described)
    plain, world = tmp_path / "plain", tmp_path / "world"
    flags = [f"--policy.{name}={value}" for name, value in toy.world.items()]
    assert convert([str(base), str(world), *flags, "--policy.device=cpu"]) == 0
    weights = load_file(world / WEIGHTS)
    gates = {name: torch.full_like(one, 0.5) for name, one in weights.items() if "gate" in name}
    assert gates
    save_file({**weights, **gates}, world / WEIGHTS)
    plain.mkdir()
    for file in base.iterdir():
        (plain / file.name).write_bytes(file.read_bytes())
    data = DatasetConfig(repo_id=toy.repo_id)
    policy = PreTrainedConfig.from_pretrained(plain)
    TrainPipelineConfig(dataset=data, policy=policy)._save_pretrained(plain)
    by_both = {"eval": by_evaluation(world), "suite": by_suite(world, "pred")}
    return {
        "checkpoint": Part(plain, {"eval": by_evaluation(plain), "suite": by_suite(plain, "none")}),
        "world": Part(world, by_both),
        "vlm": Part(toy.vlm, by_both),
        "encoder": Part(toy.encoder, by_both),
        "images": Part(toy.dataset, {"data": by_data(toy.dataset, toy.repo_id)}),
        "videos": Part(video_dataset, {"data": by_data(video_dataset, "toy/video")}),
    }


def table(verdicts: list[Verdict]) -> list[str]:
    """Counts by file and answer, as docs/datasets.md has them."""
    answers = ("refused", "same", "unknowable")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        counts[verdict.file][verdict.answer] += 1
        counts["**all**"][verdict.answer] += 1
    rows = [
        f"| {file} | {' | '.join(str(counts[file][answer]) for answer in answers)} |"
        for file in sorted(counts)
    ]
    return ["| file | refused | the same | unknowable |", "|---|---|---|---|", *rows]


def judge(verdicts: list[Verdict]) -> None:
    faults = [verdict for verdict in verdicts if verdict.answer == "fault"]
    assert not faults, "\n".join(map(str, faults))
    for verdict in verdicts:
        if verdict.answer == "refused":
            assert all("Traceback" not in said and said for said in verdict.said.values()), verdict


def test_a_few_mutations_are_refused_or_change_nothing(parts: dict[str, Part]) -> None:
    verdicts = list(mutate(parts, range(40), is_unknowable))
    judge(verdicts)
    assert {"refused", "same"} <= {verdict.answer for verdict in verdicts}


@pytest.mark.slow  # 8 minutes
def test_2000_mutations_are_refused_or_change_nothing(
    parts: dict[str, Part], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = []
    for verdict in mutate(parts, range(2000), is_unknowable):
        verdicts.append(verdict)
        if verdict.answer == "fault" or verdict.number % 200 == 0:
            with capsys.disabled():
                print(verdict, file=sys.stderr)
    with capsys.disabled():
        print(*table(verdicts), sep="\n")
    judge(verdicts)
