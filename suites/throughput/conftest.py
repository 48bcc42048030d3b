"""What the benchmarks of a device share: which machine this is, and judging a figure by its references."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bench.machine import Machine, detect_accelerator, detect_machine, load_machine, load_performance
from bench.performance import Performance, judge
from wmvla.errors import UserError


@dataclass(frozen=True)
class Here:
    machine: Machine
    performance: Performance

    @property
    def device(self) -> str:
        """Torch's name of one device; it calls an AMD GPU ``cuda`` too."""
        return "cpu" if self.machine.accelerator == "cpu" else "cuda"


@pytest.fixture(scope="session")
def here(request: pytest.FixtureRequest) -> Here:
    """The machine that was asked for with ``--machine``, or the one that is found."""
    name = request.config.option.machine or detect_machine()
    machine, found = load_machine(name), detect_accelerator()
    if machine.accelerator not in ("cpu", found):
        raise UserError(f"machine '{name}' has a {machine.accelerator} GPU, and none was found")
    return Here(machine, load_performance(name))


@pytest.fixture
def measured(here: Here, benchmark: Any) -> Callable[..., None]:
    """``measured(name, value, unit, **beside)``: tell a figure, put it into pytest-benchmark's JSON, judge it by its reference.

    Non-obvious: this comes after the test's own asserts. That a benchmark is right, and that it is fast, are two judgements.
    """

    def tell(name: str, value: float, unit: str, **beside: float) -> None:
        found = judge(here.performance, name, value, unit)
        benchmark.extra_info.update(
            machine=here.machine.name, figure=name, value=value, unit=unit, judgement=found.status, **beside
        )
        if (reference := here.performance.references.get(name)) is not None:
            benchmark.extra_info.update(reference=reference.value, reference_date=reference.date, **reference.bounds())
        told = "".join(f", {key.replace('_', ' ')} {number:.4g}" for key, number in beside.items())
        print(f"\n  {here.machine.name}: {found.status}: {found.sentence}{told}")
        if found.status == "expected failure":
            pytest.xfail(found.sentence)
        if found.status in ("fail", "unexpected pass"):
            pytest.fail(found.sentence, pytrace=False)

    return tell
