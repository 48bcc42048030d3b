"""What a suite asks: `suites/<name>/suite.toml` as frozen dataclasses, every reference inside it checked."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.toml_config import did_you_mean, load_toml
from wmvla.errors import UserError
from wmvla.recipe import Recipe

SUITES = Path(__file__).resolve().parents[1] / "suites"


@dataclass(frozen=True)
class Arm:
    """A trained policy variant and the modes it is rolled out in."""

    policy: Literal["smolvla", "smolvla_world"]
    title: str
    rollouts: tuple[Literal["none", "pred", "zero", "random"], ...]
    memory: Literal["none", "pred", "zero"] = "none"
    """What fills the world memory in training; ``none`` for a policy without one."""


@dataclass(frozen=True)
class Sanity:
    """Nothing is concluded unless `rollout` succeeds in at least the share `floor` of its episodes."""

    rollout: str
    floor: float


@dataclass(frozen=True)
class Claim:
    """A statement about success(left) - success(right), paired by episode."""

    id: str
    kind: Literal["equivalence", "superiority"]
    left: str
    right: str
    says: str
    margin: float | None = None
    """Equivalence only: the difference lies inside +-margin (a share, 0.05 is five points)."""
    asked: bool = True
    """False in a plan whose ARMS leave out an arm that the claim needs."""


@dataclass(frozen=True, kw_only=True)
class Scale(Recipe):
    """A recipe, and what its result may be used for."""

    concludes: bool
    """False: whatever the numbers are, the verdict is INCONCLUSIVE."""
    summary: str
    cannot_say: tuple[str, ...]
    requires_gpu: bool = False

    @property
    def recipe(self) -> Recipe:
        return Recipe(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})


@dataclass(frozen=True)
class Suite:
    name: str
    question: str
    seeds: tuple[int, ...]
    """Training seeds."""
    alpha: float
    """Significance level of each test; intervals shown are at 1 - alpha."""
    arms: dict[str, Arm]
    sanity: Sanity
    claims: tuple[Claim, ...]
    scales: dict[str, Scale]


def known_suites(folder: Path = SUITES) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/suite.toml"))


def load_suite(name: str, folder: Path = SUITES) -> Suite:
    """The suite called `name`. UserError for an unknown suite and for anything wrong in its file."""
    known = known_suites(folder)
    if name not in known:
        raise UserError(f"unknown suite '{name}'; {did_you_mean(name, known)}")
    return load_suite_file(folder / name / "suite.toml")


def load_suite_file(path: Path) -> Suite:
    """The suite in the TOML file at `path`, checked."""
    suite = load_toml(path, Suite)
    _check(suite, path)
    return suite


def rollout_names(arms: dict[str, Arm]) -> list[str]:
    """``E0-none``, ``E1-zero``, ...: every arm in each of its modes, in the suite's order."""
    return [f"{name}-{mode}" for name, arm in arms.items() for mode in arm.rollouts]


def _check(suite: Suite, path: Path) -> None:
    """What types cannot say: names that must exist, numbers that must lie in a range."""
    if suite.name != path.parent.name:
        raise UserError(f"{path}: 'name' is '{suite.name}' but the folder is '{path.parent.name}'; make them equal")
    if not 0 < suite.alpha < 0.5:
        raise UserError(f"{path}: 'alpha' must lie between 0 and 0.5, not {suite.alpha}")
    if not suite.seeds or len(set(suite.seeds)) != len(suite.seeds) or min(suite.seeds) < 0:
        raise UserError(f"{path}: 'seeds' must be different numbers of 0 or more, not {list(suite.seeds)}")
    for name, arm in suite.arms.items():
        if "-" in name:
            raise UserError(f"{path}: arm '{name}' must not contain '-', which separates arm, mode and seed")
        if (arm.policy == "smolvla") != (arm.memory == "none"):
            raise UserError(f"{path}: 'arms.{name}.memory' is '{arm.memory}', which policy '{arm.policy}' cannot have")
    rollouts = rollout_names(suite.arms)
    named = [("sanity.rollout", suite.sanity.rollout)]
    for i, claim in enumerate(suite.claims):
        named += [(f"claims[{i}].left", claim.left), (f"claims[{i}].right", claim.right)]
        if claim.kind == "equivalence" and not (claim.margin and 0 < claim.margin < 1):
            raise UserError(f"{path}: 'claims[{i}].margin' must lie between 0 and 1 for an equivalence claim")
        if claim.kind == "superiority" and claim.margin is not None:
            raise UserError(f"{path}: 'claims[{i}].margin' has no meaning for a superiority claim; remove it")
    for key, rollout in named:
        if rollout not in rollouts:
            raise UserError(f"{path}: '{key}' names no rollout: '{rollout}'; {did_you_mean(rollout, rollouts)}")
    if not 0 <= suite.sanity.floor <= 1:
        raise UserError(f"{path}: 'sanity.floor' must lie between 0 and 1, not {suite.sanity.floor}")
