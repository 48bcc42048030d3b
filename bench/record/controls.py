"""What the control suites showed of a run's code: the file ``controls.json`` beside the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.formats.strict_json import NotStrictError, parse
from bench.plan.suite import Control, Decision
from wmvla.documents import build
from wmvla.errors import UserError, answer_of_system
from wmvla.ranges import Natural, Sha256

CONTROLS_FILE = "controls.json"
CONTROLS_VERSION: Literal[1] = 1
Outcome = Literal["shown", "failed", "undecided"]
"""The answer that is known came out; another one did; or none could have come out."""
Why = Literal["unfinished", "changed", "scale", "code", "machine", "unreadable"]
"""Why a control run does not speak for another run. The first comes nearest to speaking."""


@dataclass(frozen=True)
class ControlRun:
    """A finished control run of the same code on a machine of the same name."""

    run: str
    """Name of its folder, which lies beside the run's."""
    plan_hash: Sha256
    decision: Decision
    outcome: Outcome
    sentence: str
    """Its verdict."""
    gains: tuple[str, ...]
    """Its superiority claims that are SUPPORTED."""
    finished_at: str | None
    """When its last rollout ended."""
    collected_at: str | None
    """When it began."""
    code_sha256: Sha256
    has_report: bool


@dataclass(frozen=True)
class PassedOver:
    """A control run that does not count."""

    run: str
    why: Why
    detail: str | None = None
    """What is wrong with an unreadable one."""


@dataclass(frozen=True)
class ControlResult:
    """What there is of one control suite."""

    suite: str
    kind: Control
    scale: str
    """The scale at which it concludes."""
    found: ControlRun | None
    """The one that finished last."""
    runs: Natural
    """Control runs that count, and how many of them failed: tries until one succeeds are seen."""
    failed: Natural
    passed_over: tuple[PassedOver, ...]


@dataclass(frozen=True)
class Controls:
    """controls.json: what the control suites showed of a run's code, when the run ended last."""

    version: Literal[1]
    machine: str
    code_sha256: Sha256 | None
    """The code of the run (`code_of`); None: no control speaks for it."""
    controls: tuple[ControlResult, ...]
    """One for each control suite, positive ones first."""


def read_controls(run_dir: Path) -> Controls | None:
    """What `write_controls` left in a run directory, if anything. UserError if it is damaged."""
    path = Path(run_dir) / CONTROLS_FILE
    try:
        data = parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None
    except NotStrictError as error:
        raise UserError(
            f"{path}: {error}; remove it and give the command of the run again"
        ) from None
    if isinstance(data, dict) and data.get("version") != CONTROLS_VERSION:
        raise UserError(
            f"{path}: 'version' is {data.get('version')!r}, this program reads {CONTROLS_VERSION}"
        )
    return build(Controls, data, str(path))
