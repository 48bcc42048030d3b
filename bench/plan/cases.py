"""Cases: what has to be done for a plan, each with what it needs first."""

from dataclasses import dataclass
from typing import Literal

from bench.plan.suite import Arm
from wmvla.ranges import Natural

WIRING = ("gate", "processors", "latents", "nan", "toy")
"""The tripwires, by their names in ``wmvla.wiring.CHECKS``: if one fails, no arm is trained."""
Kind = Literal[
    "demonstrations", "base", "latents", "wiring", "held-out", "train", "rollout", "replay"
]


@dataclass(frozen=True)
class Case:
    """One step of a run; in pytest one item."""

    id: str
    kind: Kind
    arm: str | None = None
    mode: str | None = None
    seed: Natural | None = None
    """Training seed; None for what all seeds share."""
    needs: tuple[str, ...] = ()

    @property
    def rollout(self) -> str:
        """The name that claims use: arm and mode, whatever the seed."""
        assert self.kind == "rollout"
        return f"{self.arm}-{self.mode}"


def make_cases(arms: dict[str, Arm], seeds: tuple[int, ...], held_out: bool) -> tuple[Case, ...]:
    """Shared cases, then all trainings, rollouts and replays; every case after what it needs.
    ``held_out``: whether there are demonstrations to replay that no arm is trained on."""
    world = [name for name, arm in arms.items() if arm.policy == "smolvla_world"]
    cases = [
        Case("demonstrations", "demonstrations"),
        Case("base", "base", needs=("demonstrations",)),
    ]
    shared: tuple[str, ...] = ("demonstrations", "base")
    if world:
        cases.append(Case("latents", "latents", needs=("demonstrations",)))
        cases += [
            Case(f"wiring-{name}", "wiring", needs=("demonstrations", "base", "latents"))
            for name in WIRING
        ]
        shared = (*shared, "latents", *(f"wiring-{name}" for name in WIRING))
    for seed in seeds:
        cases += [Case(f"{name}-train-s{seed}", "train", name, None, seed, shared) for name in arms]
    for seed in seeds:
        for name, arm in arms.items():
            trained = (f"{name}-train-s{seed}",)
            for mode in arm.rollouts:
                cases.append(Case(f"{name}-{mode}-s{seed}", "rollout", name, mode, seed, trained))
    if world and held_out:
        cases.append(Case("held-out", "held-out", needs=("latents",)))
        for seed in seeds:
            for name in world:
                needs = (f"{name}-train-s{seed}", "held-out")
                cases.append(Case(f"{name}-replay-s{seed}", "replay", name, None, seed, needs))
    assert len({case.id for case in cases}) == len(cases), "two cases have the same name"
    return tuple(cases)
