"""What the benchmarks of a device share: which machine this is, and judging a figure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bench.host.energy import Counter, NoReading, find_counter, reading
from bench.plan.machine import (
    Machine,
    detect_accelerator,
    detect_machine,
    load_machine,
    load_performance,
)
from bench.plan.machine_performance import Performance, judge
from wmvla.errors import UserError

BESIDE = {"peak_memory_gib": "GiB", "joules_per_sample": "J", "joules_per_clip": "J"}
"""What is judged beside a figure, and its unit."""


@dataclass(frozen=True)
class Here:
    machine: Machine
    performance: Performance

    energy: Counter | None
    """None if this computer does not report it."""

    def joules(self) -> dict[str, float] | None:
        return reading(self.energy)

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
    try:
        energy = find_counter(machine.accelerator)
    except NoReading as reason:
        print(f"\n  energy: not reported here: {reason}")
        energy = None
    return Here(machine, load_performance(name), energy)


@pytest.fixture
def measured(here: Here, benchmark: Any) -> Callable[..., None]:
    """``measured(name, value, unit, **beside)``: report a figure, and judge it by its reference.
    Memory and energy beside it are figures too, ``<name>_<key>``, judged by references.
    Non-obvious: this comes after the test's own asserts: being right and fast are two things."""

    def measured_is(name: str, value: float, unit: str, **beside: float) -> None:
        found = judge(here.performance, name, value, unit)
        own = [(f"{name}_{key}", beside[key], of) for key, of in BESIDE.items() if key in beside]
        others = [
            judge(here.performance, *one) for one in own if one[0] in here.performance.references
        ]
        benchmark.extra_info.update(
            machine=here.machine.name,
            figure=name,
            value=value,
            unit=unit,
            judgement=found.status,
            **beside,
        )
        if (reference := here.performance.references.get(name)) is not None:
            benchmark.extra_info.update(
                reference=reference.value, reference_date=reference.date, **reference.bounds()
            )
        added = "".join(f", {key.replace('_', ' ')} {number:.4g}" for key, number in beside.items())
        print(f"\n  {here.machine.name}: {found.status}: {found.sentence}{added}")
        for other in others:
            print(f"  {here.machine.name}: {other.status}: {other.sentence}")
        judgements = [found, *others]
        if missed := [
            each.sentence for each in judgements if each.status in ("fail", "unexpected pass")
        ]:
            pytest.fail("; ".join(missed), pytrace=False)
        if expected := [each.sentence for each in judgements if each.status == "expected failure"]:
            pytest.xfail("; ".join(expected))

    return measured_is
