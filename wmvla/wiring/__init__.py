"""Wiring tripwires: what must hold before anything is trained, each raising ``WiringError``."""

from collections.abc import Callable

from wmvla.wiring.gate import check_gate
from wmvla.wiring.inputs import WiringError, WiringInputs
from wmvla.wiring.latents import check_latents
from wmvla.wiring.nan import check_nan
from wmvla.wiring.processors import check_processors
from wmvla.wiring.toy import check_toy

CHECKS: dict[str, Callable[[WiringInputs], dict[str, float | str]]] = {
    "gate": check_gate,
    "processors": check_processors,
    "latents": check_latents,
    "nan": check_nan,
    "toy": check_toy,
}
"""By the name of the case that runs it, ``wiring-<name>``."""

__all__ = ["CHECKS", "WiringError", "WiringInputs"]
