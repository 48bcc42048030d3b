"""Cases: what has to be done for a plan, each with what it needs first."""

from dataclasses import dataclass
from typing import Literal

from bench.suite import Arm


@dataclass(frozen=True)
class Case:
    """One pytest item."""

    id: str
    kind: Literal["demonstrations", "base", "latents", "train", "rollout"]
    arm: str | None = None
    mode: str | None = None
    seed: int | None = None
    """Training seed; None for what all seeds share."""
    needs: tuple[str, ...] = ()

    @property
    def rollout(self) -> str:
        """The name that claims use: arm and mode, whatever the seed."""
        assert self.kind == "rollout"
        return f"{self.arm}-{self.mode}"


def make_cases(arms: dict[str, Arm], seeds: tuple[int, ...]) -> tuple[Case, ...]:
    """Shared cases, then all trainings, then all rollouts; every case after what it needs."""
    cases = [
        Case("demonstrations", "demonstrations"),
        Case("base", "base", needs=("demonstrations",)),
    ]
    if any(arm.policy == "smolvla_world" for arm in arms.values()):
        cases.append(Case("latents", "latents", needs=("demonstrations",)))
    for seed in seeds:
        for name, arm in arms.items():
            shared = ("demonstrations", "base", *(("latents",) if arm.policy == "smolvla_world" else ()))
            cases.append(Case(f"{name}-train-s{seed}", "train", name, None, seed, shared))
    for seed in seeds:
        for name, arm in arms.items():
            for mode in arm.rollouts:
                cases.append(Case(f"{name}-{mode}-s{seed}", "rollout", name, mode, seed, (f"{name}-train-s{seed}",)))
    return tuple(cases)
