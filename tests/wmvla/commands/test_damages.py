"""Each LeRobot command answers each damage to each of its files in one line; docs/damages.md lists
what it says."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.damages import (
    OF_FILES,
    OF_JSON,
    REWRITE,
    Section,
    about,
    cell,
    copied,
    refusal,
    row,
    said_by,
)
from tests.wmvla.commands.planned import make_planned
from tests.wmvla.conftest import SIZE, Toy
from tests.wmvla.policy import cases
from wmvla.commands import convert, latents, train
from wmvla.commands.evaluation import main as evaluation
from wmvla.commands.evaluation import run
from wmvla.world.latents.cache import latents_path, metadata_path

TITLE = "The commands of LeRobot"
PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
STATES = (
    "policy_preprocessor_step_5_normalizer_processor.safetensors",
    "policy_postprocessor_step_0_unnormalizer_processor.safetensors",
)
LATENTS = latents_path(Path(), "toy/noise", "vjepa", "m4")
FILES: dict[str, dict[str, dict[str, Callable[[Path], None]]]] = {
    "checkpoint": {
        "config.json": OF_JSON,
        "model.safetensors": OF_FILES,
        **dict.fromkeys(PROCESSORS, OF_JSON),
        **dict.fromkeys(STATES, OF_FILES),
    },
    "dataset": {
        "meta/info.json": OF_JSON,
        "meta/stats.json": OF_JSON,
        "meta/tasks.parquet": OF_FILES,
        "meta/episodes/chunk-000/file-000.parquet": OF_FILES,
        "data/chunk-000/file-000.parquet": OF_FILES,
    },
    "latents": {str(LATENTS): OF_FILES, str(metadata_path(LATENTS)): OF_JSON},
    "encoder": {
        "config.json": OF_JSON,
        "model.safetensors": OF_FILES,
        "video_preprocessor_config.json": OF_JSON,
    },
}
COMMANDS = {
    "checkpoint": ("eval", "train", "convert"),
    "dataset": ("train", "latents", "latents --check"),
    "latents": ("train", "latents --check"),
    "encoder": ("latents",),
}
NAMES = {id(value): name for name, value in vars(cases).items()}
WHOLE = {"checkpoint": {NAMES[id(case)]: case for case in cases.REFUSED}}
"""Those of datasets are in docs/datasets.md and ``test_damaged_data``."""
ROWS = [
    (part, file, kind) for part, files in FILES.items() for file in files for kind in files[file]
] + [(part, "", kind) for part, kinds in WHOLE.items() for kind in kinds]
OF_THE_DATA = (
    *("foreign_statistics_keys", "without_action_statistics", "without_a_state_file"),
    *("nan_statistics", "statistics_of_integers", "six_wide_statistics"),
)
"""Damage to statistics of a checkpoint, in whose place LeRobot's training puts the dataset's."""


def why_played(part: str, file: str, kind: str, command: str) -> str:
    """Why a command may go on beside a damage; empty where it may not."""
    if command == "latents --check" and file == str(metadata_path(LATENTS)):
        return "it is written anew"
    if part == "checkpoint" and command == "train" and kind in OF_THE_DATA:
        return "the dataset's statistics take their place"
    return ""


@pytest.fixture(scope="module")
def section() -> Iterator[Section]:
    found = Section(TITLE)
    yield found
    if REWRITE:
        found.write()


@pytest.fixture
def commands(toy: Toy, base: Path, world_flags, data_flags, tmp_path, monkeypatch):
    """What each command is given, with ``part`` in the place ``spoilt``."""
    monkeypatch.setattr("wmvla.train.parallel.preemption.catch_sigterm", lambda: lambda: False)
    monkeypatch.setattr(run, "make_simulation", make_planned)

    def given(name: str, part: str, spoilt: Path) -> Callable[[], int]:
        places = {"checkpoint": base, "dataset": toy.dataset, "latents": toy.cache}
        places |= {"encoder": toy.encoder, part: spoilt}
        out = tmp_path / f"out-{name.replace(' ', '')}"
        data = [f"--dataset.repo_id={toy.repo_id}", f"--dataset.root={places['dataset']}"]
        cache = f"--policy.cache_dir={places['latents']}"
        if name == "eval":
            flags = [
                f"--policy.path={places['checkpoint']}", "--policy.device=cpu", "--env.type=libero",
                "--env.task=libero_object", "--env.task_ids=[7]", "--env.episode_length=2",
                f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}",
                "--eval.n_episodes=1", f"--output_dir={out}", "--workers=1",
            ]  # fmt: skip
            return lambda: evaluation.main(flags)
        if name == "train":
            flags = [*data_flags, data[1], f"--output_dir={out}", "--steps=1"]
            flags += ["--save_checkpoint=false"]
            if part == "checkpoint":
                return lambda: train.main([f"--policy.path={places[part]}", *flags])
            start = ["--policy.type=smolvla_world", f"--policy.init_from_policy_path={base}"]
            return lambda: train.main([*start, *world_flags, cache, *flags])
        if name == "convert":
            return lambda: convert.main([str(places["checkpoint"]), str(out), *world_flags])
        encoder = f"--policy.world_vision_model_name={places['encoder']}"
        if name == "latents":
            return lambda: latents.main([*data, encoder, f"--policy.cache_dir={out}"])
        return lambda: latents.main([*data, "--check", cache])

    return given


@pytest.mark.slow  # 5 seconds each
@pytest.mark.parametrize(("part", "file", "kind"), ROWS)
def test_each_command_answers_each_damage(
    part: str, file: str, kind: str, toy: Toy, base: Path, commands, section: Section, tmp_path
) -> None:
    sources = {"checkpoint": base, "dataset": toy.dataset, "latents": toy.cache}
    source = {**sources, "encoder": toy.encoder}[part]
    said = []
    for name in COMMANDS[part]:
        spoilt = copied(source, tmp_path / part)
        (FILES[part][file][kind] if file else WHOLE[part][kind])(spoilt / file)
        code, out, err = said_by(commands(name, part, spoilt))
        logging.getLogger().handlers.clear()
        places = {f"{spoilt}/": "", str(spoilt): part, f"{tmp_path}/": ""}
        names = [Path(file).name, str(spoilt)] if file else [str(spoilt), "/gone/from/another"]
        if code == 1 and name == "latents --check":
            (line,) = (line for line in out.splitlines() if line.startswith("not usable: "))
            said.append(f"1: {cell(line, places)}")
        elif code == 0:
            why = why_played(part, file, kind, name)
            assert why, err[-2000:]
            said.append(f"0: {why}")
        else:
            said.append(f"2: {cell(refusal(code, err, names), places)}")
            assert not (tmp_path / f"out-{name.replace(' ', '')}").exists()
    header = f"| {part} | damage | {' | '.join(COMMANDS[part])} |"
    section.add(header, [*named(file, kind), *said])


def named(file: str, kind: str) -> list[str]:
    return [file or "as a whole", kind.replace("_", " ")]


def test_the_page_has_these_rows() -> None:
    found = [about(line) for line in Section(TITLE).rows()]
    assert sorted(found) == sorted(about(row(named(file, kind))) for _, file, kind in ROWS)
