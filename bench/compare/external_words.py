"""Sentences about results that others measured."""

from bench.judge.missing import as_ranges
from bench.wording.numbers import percent

IMPORT_NAME = "LeRobot evaluation"
IMPORT_FLAWS = (
    "The file has no scene, no initial state and no noise seed: its episodes cannot be paired.",
    "The file has no simulator version and no package versions: nobody can check that it "
    "played the same task.",
    "The file has no record of the training: nobody can check that the checkpoint saw as many "
    "samples.",
)
UNPAIRED = "UNPAIRED"
"""How everything is marked that is compared otherwise than episode by episode."""
BESIDE = (
    f"Results of others, as context: {UNPAIRED}. We cannot verify them, and they are not part of "
    "the verdict. The intervals (Wilson) only cover chance in the episodes, not the known flaws."
)


def imported_line(rollout: str, suite: str, successes: int, episodes: int, not_played: int) -> str:
    line = (
        f"{rollout} in {suite}: {successes} of {episodes} solved ({percent(successes / episodes)}),"
        f" {UNPAIRED}"
    )
    return f"{line}; {not_played} more could not be played" if not_played else line


def where(suite: str, tasks: tuple[int, ...]) -> str:
    """``libero_spatial, tasks 0-9``."""
    return f"{suite}, task{'s' if len(tasks) > 1 else ''} {as_ranges(sorted(tasks))}"


def not_the_same_tasks(ours: str) -> str:
    """Why our own success does not stand beside a rate."""
    return f"other tasks: this run plays {ours}"
