"""Machine files, and finding out which machine this is."""

from pathlib import Path

import pytest

from bench.machine import detect_machine, known_machines, load_machine
from bench.suite import load_suite
from wmvla.errors import UserError

GOOD = """
name = "{name}"
accelerator = "cpu"
training_processes = {processes}
rollout_workers = 2
precision = "fp32"
default_scale = "mini"
"""


@pytest.mark.parametrize("name", known_machines())
def test_every_shipped_machine_loads_and_its_default_scale_exists(name: str) -> None:
    assert load_machine(name).default_scale in load_suite("core").scales


def test_detection_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    expected = "cpu" if not torch.cuda.is_available() else ("rocm" if torch.version.hip else "cuda")
    assert detect_machine() == expected


def test_unknown_machine_lists_the_known() -> None:
    with pytest.raises(UserError, match="unknown machine 'h200'; known: cpu, cuda, rocm"):
        load_machine("h200")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.format(name="b", processes=1), "'name' is 'b' but the file is 'a.toml'"),
        (GOOD.format(name="a", processes=0), "'training_processes' must be at least 1, not 0"),
        (GOOD.format(name="a", processes=1).replace("workers = 2", "workers = -1"), "'rollout_workers' must be at least 0"),
        (GOOD.format(name="a", processes=1) + "worker = 3", "unknown key 'worker'"),
        (GOOD.format(name="a", processes=1).replace("fp32", "fp8"), "'precision' is 'fp8'"),
    ],
)
def test_bad_machine_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_machine("a", tmp_path)
