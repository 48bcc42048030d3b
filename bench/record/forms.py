"""What the files of a run hold: records of cases, logged steps, replays, provenance, manifest. They
are read as dicts. The JSON Schemas in ``bench/formats/schemas`` are made of these."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from bench.plan.cases import Kind
from wmvla.documents import faults, further
from wmvla.ranges import Natural, Number, Positive, Sha256

MOST = 5
"""Faults of one document that are named."""

ImageDigest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
UtcTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Range = Annotated[list[float], Meta(min_length=2, max_length=2)]
"""Lowest and highest of a single episode."""


class Sums(TypedDict):
    """SHA-256 of what a case made and began from."""

    files: dict[str, Sha256]
    """Files and folders in the run directory: plan, provenance, and what the case made."""
    outside: dict[str, Sha256]
    """The same of artefacts outside of it, by their names."""
    checkpoint: Sha256 | None
    """The checkpoint that the case began from."""


@further(Any)
class ProphetFigures(TypedDict):
    """How well the Prophet predicts, by k from 1."""

    valid: list[Natural]
    cosine: list[float]
    mean_delta_cosine: list[float]
    cosine_overall: float
    mean_delta_cosine_overall: float
    cosine_range: Range
    mean_delta_cosine_range: Range


@further(Any)
class ActionError(TypedDict):
    """Mean absolute error."""

    mean: Number
    range: Range


@further(float | list[float])
class Step(TypedDict):
    """One line of metrics/<case>.jsonl: an optimizer step of a training."""

    step: Positive
    samples: NotRequired[Positive]
    """Seen by then, over all processes."""
    learning_rate: NotRequired[Number]
    seconds: NotRequired[Number]
    """Training time by then."""
    loss_total: NotRequired[float]
    action_loss: NotRequired[float]
    grad_norm: NotRequired[Number]
    world_cos: NotRequired[Annotated[float, Meta(ge=-1.001, le=1.001)]]
    """Predicted against true change of the latents."""


@further(Any)
class LastStep(TypedDict):
    """The last line of the metrics."""

    step: int


@further(Any)
class CaseRecord(TypedDict):
    """cases/<case>.json: that a case is done, and what came of it."""

    case: str
    kind: Kind
    seconds: Number
    """Of the session that ended it."""
    cpu_seconds: Number
    finished_at: UtcTime
    artefacts: dict[str, str]
    """Paths from the folder that holds results/ and cache/."""
    code_sha256: NotRequired[Sha256]
    """Of the code that did it."""
    image_digest: NotRequired[ImageDigest | None]
    """Of the container's image that the case was carried out in; null: in none."""
    sums: NotRequired[Sums]
    sha256: NotRequired[Sha256]
    """Over the rest of the record as canonical JSON."""
    steps: NotRequired[Natural]
    last: NotRequired[LastStep]
    episodes: NotRequired[Natural]
    succeeded: NotRequired[Natural]
    episode_cpu_seconds: NotRequired[Number]
    played: NotRequired[Natural]
    """Episodes of the last session."""
    rollout_workers: NotRequired[Positive | None]
    frames: NotRequired[Natural]
    rows: NotRequired[Natural]
    width: NotRequired[Natural]
    queries: NotRequired[Natural]
    actions: NotRequired[Natural]
    figures: NotRequired[dict[str, Any]]
    prophet: NotRequired[ProphetFigures]
    action_error: NotRequired[dict[str, ActionError]]
    """By memory."""


class Replayed(TypedDict):
    """One line of replays/<case>.jsonl: a held-out demonstration, replayed."""

    episode: Natural
    frames: Natural
    valid: Annotated[list[Natural], Meta(min_length=1)]
    """By k: frames whose k-th future lies inside the episode."""
    cosine: list[float]
    """By k: of predicted and true change of the latents."""
    mean_delta_cosine: list[float]
    """By k: the same for the mean change over the training latents."""
    queries: Natural
    actions: Natural
    action_error: Annotated[dict[str, Number], Meta(min_length=1)]
    """Mean absolute error by memory."""


@further(Any)
class NotFound(TypedDict):
    """What stands in the place of a value that could not be found out."""

    error: str


@further(Any)
class Git(TypedDict):
    """Which source, or the error in its place."""

    commit: NotRequired[str]
    dirty: NotRequired[bool]
    error: NotRequired[str]


@further(Any)
class Cpu(TypedDict):
    """The processor."""

    model: NotRequired[str | None]
    cores_usable: NotRequired[int | None]
    cores: NotRequired[int | None]
    memory_bytes: NotRequired[int | None]


@further(Any)
class Provenance(TypedDict):
    """provenance.json: where a run comes from."""

    packages: dict[str, str | None]
    """null: not installed."""
    environment: dict[str, str]
    collected_at: NotRequired[str]
    command: NotRequired[str]
    git: NotRequired[Git]
    code_sha256: NotRequired[Sha256 | NotFound]
    uv_lock_sha256: NotRequired[Sha256 | NotFound]
    image_digest: NotRequired[ImageDigest | NotFound | None]
    """Of the container's image that the run began in; null: in none."""
    python: NotRequired[str]
    platform: NotRequired[str]
    cpu: NotRequired[Cpu]
    torch: NotRequired[dict[str, Any]]
    gpu_driver: NotRequired[str | dict[str, Any] | None]
    gl_renderer: NotRequired[str | NotFound | None]
    golden_frame_sha256: NotRequired[str | NotFound | None]
    task_files: NotRequired[dict[str, Sha256]]
    """BDDL files and initial states of the plan's tasks, by their names in LIBERO."""


class FileEntry(TypedDict):
    """A file of a run."""

    bytes: Natural
    sha256: Sha256


class Manifest(TypedDict):
    """manifest.json: the sums of all files of a finished run, and the seal over its evidence."""

    version: Literal[1]
    run: str
    plan_hash: Sha256
    program_sha256: Sha256
    """Over the sources and templates of bench that wrote the reports."""
    seal: Sha256
    """Over the lines '<sum>  <path>' of the evidence, in order of the paths."""
    files: dict[str, FileEntry]
    sha256: Sha256
    """Over the rest of the manifest as canonical JSON."""


def problems(kind: Any, document: object) -> Iterator[str]:
    """The first few faults of a document, and of a record what its keys ask of each other."""
    for number, fault in enumerate(faults(kind, document)):
        if number == MOST:
            yield "and more"
            return
        yield fault
    if kind is CaseRecord and isinstance(document, dict):
        if ("sums" in document) != ("sha256" in document):
            yield "'sums' and 'sha256' belong together"
        needed = ("episodes", "frames", "queries", "actions", "prophet", "action_error")
        if document.get("kind") == "replay" and (lacking := set(needed) - set(document)):
            yield f"missing key '{min(lacking)}'"
    if kind is Provenance and isinstance(document, dict):
        git = document.get("git")
        if isinstance(git, dict) and not ("error" in git or {"commit", "dirty"} <= set(git)):
            yield "'git' must have 'commit' and 'dirty', or an 'error'"
