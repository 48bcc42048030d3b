"""What a suite asks: `suites/<name>/suite.toml` as frozen dataclasses, every reference checked."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from bench.formats.toml import read_toml
from wmvla.documents import build, did_you_mean
from wmvla.errors import UserError
from wmvla.ranges import Between, Natural, Several, Share
from wmvla.recipe import REFUSED_IN_ROLLOUTS, ArmFields, Recipe

SUITES = Path(__file__).resolve().parents[2] / "suites"
LIKE = "like"
"""Key of a scale that is the scale of that name in another suite, but for the keys beside it."""
Control = Literal["positive", "negative"]
"""A suite with a known answer: a gain in every superiority claim (positive), or in none."""
Decision = Literal["SUPPORTED", "NOT SUPPORTED", "INCONCLUSIVE"]
"""What can be answered to a claim."""
_NAME = Meta(
    pattern="^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$",
    extra={"says": "letters and digits, with single '-' in between"},
)
ArmName = Annotated[str, _NAME]
"""It names files."""


@dataclass(frozen=True)
class Arm:
    """A trained policy variant and the modes it is rolled out in."""

    policy: Literal["smolvla", "smolvla_world"]
    title: str
    rollouts: Several[Literal["none", "pred", "zero", "random", "hold", "history"]]
    """``none`` for a policy without memory, else modes of ``wmvla.recipe.ROLLOUT_MODES``."""
    memory: Literal["none", "pred", "oracle", "zero", "shuffle", "random", "history"] = "none"
    """What fills the world memory in training; ``none`` for a policy without one."""
    fields: ArmFields = dataclasses.field(default_factory=ArmFields)
    """What else the arm changes: fusion points, the imagination bank, where gradients stop."""


@dataclass(frozen=True)
class Sanity:
    """Nothing is concluded unless `rollout` succeeds in the share `floor` of its episodes."""

    rollout: str
    floor: Share


@dataclass(frozen=True)
class Claim:
    """A statement about success(left) - success(right), paired by episode."""

    id: str
    kind: Literal["equivalence", "superiority"]
    left: str
    right: str
    says: str
    margin: Between | None = None
    """Equivalence only: the difference lies inside +-margin (a share, 0.05 is five points)."""
    asked: bool = True
    """False in a plan whose ARMS leave out an arm that the claim needs."""
    effect: Between | None = None
    """Superiority only: the gain sought (a share). NOT SUPPORTED if excluded with enough power."""


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
        names = (field.name for field in dataclasses.fields(Recipe))
        return Recipe(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Suite:
    name: str
    question: str
    seeds: Several[Natural]
    """Training seeds."""
    alpha: Annotated[float, Meta(gt=0, lt=0.5)]
    """Significance level of each test; intervals shown are at 1 - alpha."""
    arms: dict[ArmName, Arm]
    sanity: Sanity
    claims: tuple[Claim, ...]
    scales: dict[str, Scale]
    control: Control | None = None


def known_suites(folder: Path = SUITES) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/suite.toml"))


def load_suite(name: str, folder: Path = SUITES) -> Suite:
    """The suite called `name`. UserError if there is none, or something is wrong in its file."""
    known = known_suites(folder)
    if name not in known and any(path.parent.name == name for path in folder.glob("*/test_*.py")):
        raise UserError(
            f"suite '{name}' has benchmarks and no plan; run it with: pytest suites/ --suite {name}"
        )
    if name not in known and name in [path.name for path in folder.iterdir() if path.is_dir()]:
        raise UserError(
            f"{folder / name}: suite.toml is missing; write it (docs/extending.md), or remove the "
            "folder"
        )
    if name not in known:
        raise UserError(f"unknown suite '{name}'; {did_you_mean(name, known)}")
    return load_suite_file(folder / name / "suite.toml")


def load_suite_file(path: Path) -> Suite:
    """The suite in the TOML file at `path`, checked."""
    content = _with_inherited_scales(read_toml(path), path)
    _refuse_modes(content, path)
    suite = build(Suite, content, str(path))
    if fault := next(_faults(suite, path.parent.name), None):
        raise UserError(f"{path}: {fault}")
    return suite


def rollout_names(arms: dict[str, Arm]) -> list[str]:
    """``E0-none``, ``E1-zero``, ...: every arm in each of its modes, in the suite's order."""
    return [f"{name}-{mode}" for name, arm in arms.items() for mode in arm.rollouts]


def _with_inherited_scales(suite: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of a suite file, where each scale with ``like = "core"`` is core's, key by key,
    under its own keys. The other file is read as it stands: no scale is like one like a third.
    """
    scales = suite.get("scales")
    if not isinstance(scales, dict):
        return suite
    resolved = {}
    for name, scale in scales.items():
        if isinstance(scale, dict) and LIKE in scale:
            known = known_suites(path.parents[1])
            if scale[LIKE] not in known:
                raise UserError(
                    f"{path}: 'scales.{name}.like' is {scale[LIKE]!r}, which is not a suite; known:"
                    f" {', '.join(known)}"
                )
            other = read_toml(path.parents[1] / scale[LIKE] / "suite.toml")
            inherited = other.get("scales", {}).get(name)
            if inherited is None or LIKE in inherited:
                raise UserError(
                    f"{path}: 'scales.{name}.like' is '{scale[LIKE]}', which has no scale '{name}'"
                    " of its own"
                )
            scale = _merged(inherited, {key: value for key, value in scale.items() if key != LIKE})
        resolved[name] = scale
    return {**suite, "scales": resolved}


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables key by key; of two values the one `above`."""
    merged = dict(below)
    for key, value in above.items():
        inner = below.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            value = _merged(inner, value)
        merged[key] = value
    return merged


def _faults(suite: Suite, folder: str) -> Iterator[str]:
    """What types cannot say: names that must exist, and what must fit together."""
    if suite.name != folder:
        yield f"'name' is {suite.name!r} but the folder is '{folder}'; make them equal"
    if len(set(suite.seeds)) < len(suite.seeds):
        yield f"'seeds' must be different numbers, not {list(suite.seeds)}"
    for name, scale in suite.scales.items():
        if scale.base.source == "tiny" and scale.base_training.steps < 1:
            yield (
                f"'scales.{name}.base_training.steps' must be at least 1, not 0: a base policy of"
                " source 'tiny' is trained here"
            )
        if scale.base.source == "tiny" and scale.base.rename_map:
            yield (
                f"'scales.{name}.base.rename_map' is for a published checkpoint; a base policy of"
                " source 'tiny' has the data's names"
            )
    for name, arm in suite.arms.items():
        yield from _arm_faults(arm, f"'arms.{name}")
    rollouts = rollout_names(suite.arms)
    named = [("sanity.rollout", suite.sanity.rollout)]
    for i, claim in enumerate(suite.claims):
        named += [(f"claims[{i}].left", claim.left), (f"claims[{i}].right", claim.right)]
        if claim.id in [other.id for other in suite.claims[:i]]:
            yield f"'claims[{i}].id' is '{claim.id}', which an earlier claim has already"
        if claim.kind == "equivalence" and claim.margin is None:
            yield f"'claims[{i}].margin' must lie between 0 and 1 for an equivalence claim"
        if claim.kind == "superiority" and claim.margin is not None:
            yield f"'claims[{i}].margin' has no meaning for a superiority claim; remove it"
        if claim.kind == "equivalence" and claim.effect is not None:
            yield (
                f"'claims[{i}].effect' has no meaning for an equivalence claim; remove it, its "
                "margin is enough"
            )
    for key, rollout in named:
        if rollout not in rollouts:
            nearest = did_you_mean(rollout, rollouts)
            yield f"'{key}' is {rollout!r}, which is not a rollout; {nearest}"
    control = f"'control' is '{suite.control}', but"
    if suite.control and not any(claim.kind == "superiority" for claim in suite.claims):
        yield f"{control} the suite has no superiority claim, so there is no gain to see"
    if suite.control and not any(scale.concludes for scale in suite.scales.values()):
        yield f"{control} no scale allows a conclusion, so nothing can be shown"


def _arm_faults(arm: Arm, key: str) -> Iterator[str]:
    plain = arm.policy == "smolvla"
    if plain != (arm.memory == "none"):
        yield f"{key}.memory' is '{arm.memory}', which policy '{arm.policy}' cannot have"
    if plain and (given := arm.fields.given()):
        yield f"{key}.fields' sets '{next(iter(given))}', which policy 'smolvla' lacks"
    if len(set(arm.rollouts)) < len(arm.rollouts):
        yield f"{key}.rollouts' has one mode twice; it is {list(arm.rollouts)}"
    for mode in arm.rollouts:
        if plain != (mode == "none"):
            yield f"{key}.rollouts' asks for '{mode}', which policy '{arm.policy}' cannot have"


def _refuse_modes(content: dict[str, Any], path: Path) -> None:
    """UserError for a mode of training that no rollout can have, with the reason."""
    arms = content.get("arms")
    for name, arm in arms.items() if isinstance(arms, dict) else ():
        rollouts = arm.get("rollouts") if isinstance(arm, dict) else None
        for mode in rollouts if isinstance(rollouts, list) else ():
            if isinstance(mode, str) and mode in REFUSED_IN_ROLLOUTS:
                raise UserError(
                    f"{path}: 'arms.{name}.rollouts' asks for '{mode}', but"
                    f" {REFUSED_IN_ROLLOUTS[mode]}"
                )
