"""What every stage knows: plan, run directory, shared cache, and where progress is shown."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.forecast.hub import find_folder, split_name
from bench.plan.document import Plan
from bench.record.privacy import hide_names
from bench.run.stages.alone import alone
from wmvla.progress import Progress
from wmvla.rollout.shard import Shard


@dataclass(frozen=True)
class Context:
    """``run_dir`` is ``<results>/<run name>``; the cache lies beside ``<results>``.

    Non-obvious: a cached thing's name carries a hash of all that decides its content, so that two
    runs share it exactly when it would be the same, and a changed recipe never finds a stale one.
    """

    plan: Plan
    run_dir: Path
    show: Callable[[str], None] | None
    trackers: tuple[str, ...] = ()
    deterministic: bool = False
    """Whether the policy answers one query at a time where it could answer several."""
    shard: Shard | None = None
    """The part of every rollout that is played here; None for the whole."""

    @property
    def cache(self) -> Path:
        return self.run_dir.resolve().parent.parent / "cache"

    @property
    def held_out(self) -> "Context":
        """The same run with its held-out demonstrations in the place of those for training.
        Non-obvious: what makes demonstrations and latents then makes these too, apart."""
        demonstrations = self.plan.recipe.demonstrations
        apart = replace(
            demonstrations,
            repo_id=f"{demonstrations.repo_id}-held-out",
            inits=demonstrations.held_out,
            held_out=(),
        )
        recipe = replace(self.plan.recipe, demonstrations=apart)
        return replace(self, plan=replace(self.plan, recipe=recipe))

    def _key(self, *parts: Any) -> str:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def dataset_repo_id(self) -> str:
        """Name of the dataset; of one that is made here, with the hash of its recipe."""
        recipe = self.plan.recipe
        if recipe.demonstrations.source == "hub":
            return split_name(recipe.demonstrations.repo_id)[0]
        seen = {k: v for k, v in asdict(recipe.environment).items() if k != "max_steps"}
        played = {k: v for k, v in asdict(recipe.demonstrations).items() if k != "held_out"}
        return f"{recipe.demonstrations.repo_id}-{self._key(seen, played)}"

    @property
    def dataset_root(self) -> Path | None:
        """Folder of the dataset; of a published one None where it is not on this disk."""
        demonstrations = self.plan.recipe.demonstrations
        if demonstrations.source == "hub":
            return find_folder(demonstrations.repo_id, "dataset")
        return self.cache / self.dataset_repo_id / "dataset"

    @property
    def vlm_folder(self) -> Path:
        """The tiny SmolVLM2; its tokenizer knows LIBERO's or the control scenes' sentences."""
        from wmvla.sim.suites import is_control

        recipe = self.plan.recipe
        words = ("control",) if is_control(recipe.environment) else ()
        key = self._key(recipe.base.to_dict(), recipe.environment.image_size, *words)
        return self.cache / "models" / f"tiny-smolvlm2-{key}"

    @property
    def _tiny_encoder_key(self) -> str:
        recipe, used = self.plan.recipe, ("encoder", "window")
        fields = {k: v for k, v in asdict(recipe.world).items() if k.startswith(used)}
        return self._key(fields, recipe.environment.image_size)

    @property
    def encoder_name(self) -> str:
        """Hub id or folder of the world encoder; of a pinned revision its folder names which."""
        encoder = self.plan.recipe.world.encoder
        if encoder == "tiny":
            return str(self.cache / "models" / f"tiny-vjepa2-{self._tiny_encoder_key}")
        return str(find_folder(encoder, "model") or encoder) if split_name(encoder)[1] else encoder

    @property
    def latents_source(self) -> str:
        """Encoder in the latent cache's file name: two tiny encoders never share a file."""
        world = self.plan.recipe.world
        return world.source + (f"-{self._tiny_encoder_key}" if world.encoder == "tiny" else "")

    @property
    def base_folder(self) -> Path:
        recipe = self.plan.recipe
        parts = recipe.base.to_dict(), asdict(recipe.base_training), recipe.rollout.n_action_steps
        return (
            self.cache
            / "base"
            / self._key(*parts, self.dataset_repo_id, recipe.environment.image_size)
        )

    @property
    def latents_suffix(self) -> str:
        """Suffix of the latent cache's file name: temporal window, and camera but for the front."""
        world = self.plan.recipe.world
        return f"m{world.window}" + ("" if world.camera == "front" else f"_{world.camera}")

    @property
    def device(self) -> str:
        """Torch's name of the machine's accelerator; it calls an AMD GPU ``cuda`` too."""
        return "cpu" if self.plan.machine.accelerator == "cpu" else "cuda"

    def simulators(self, episodes: int, policy_on_gpu: bool) -> int:
        """How many simulator processes play: the machine file's number, or what fits here."""
        if self.plan.machine.rollout_workers:
            return self.plan.machine.rollout_workers
        from wmvla.resources import worker_count
        from wmvla.sim.suites import simulator_bytes

        return worker_count(episodes, policy_on_gpu, simulator_bytes(self.plan.recipe.environment))

    def progress(self, label: str, total: int, done: int = 0) -> Progress:
        return Progress(label, total, done, show=self.show)

    def alone(self, label: str, thing: Path) -> AbstractContextManager[None]:
        """Nobody else makes this thing of the cache meanwhile (`bench.run.stages.alone`)."""
        show = self.show or (lambda line: print(line, file=sys.stderr, flush=True))
        return alone(thing, label, show)

    def log_path(self, case_id: str) -> Path:
        return self.run_dir / "logs" / f"{case_id}.log"

    @contextmanager
    def simulator_logs(self, case_id: str) -> Iterator[Path]:
        """Where a case's simulators print to (``Simulators.logs``), apart from other shards';
        afterwards nothing in it names a user or a host."""
        shard = "" if self.shard is None else f".{self.shard.number}-of-{self.shard.of}"
        logs = self.run_dir / "logs" / f"{case_id}{shard}"
        try:
            yield logs
        finally:
            hide_names(logs.parent.glob(f"{logs.name}.simulator-*.log"))

    def relative(self, artefacts: dict[str, Path]) -> dict[str, str]:
        """Artefact paths as recorded: from the folder of ``results/`` and ``cache/``, or ``~``."""
        top, home = self.cache.parent, Path("~").expanduser()

        def recorded(path: Path) -> str:
            if path.is_relative_to(top):
                return str(path.relative_to(top))
            return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)

        return {name: recorded(path) for name, path in artefacts.items()}

    def absolute(self, artefacts: dict[str, str]) -> dict[str, Path]:
        """The inverse of ``relative``."""
        top = self.cache.parent
        return {name: top / Path(path).expanduser() for name, path in artefacts.items()}
