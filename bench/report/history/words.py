"""What the page of runs over time says."""

TITLE = "Runs over time"
LEAD = (
    "Every run below this folder, by suite, scale and machine. Runs are drawn at equal "
    "distances, in the order in which they began. A line joins only runs of the same plan, "
    "because another plan answers another question. Intervals are Wilson's at 95 %, for the "
    "episodes of one run. Do not judge a difference between two runs by eye: wmbench compare "
    "pairs their episodes."
)
NO_RUNS = "There is no run here yet."
UNDATED = "no date"


def summary(runs: int, groups: int, unreadable: int) -> str:
    """One line for a terminal."""
    line = (
        f"{runs} run{'s' * (runs != 1)} in {groups} group{'s' * (groups != 1)} of suite, scale and"
        " machine"
    )
    return f"{line}; {unreadable} unreadable" if unreadable else line


def group_title(suite: str, scale: str, machine: str) -> str:
    return f"{suite} at {scale} on {machine}"


def unreadable_note(number: int) -> str:
    """Above the list of what is not in any chart."""
    if number == 1:
        return "One folder is not in any chart, because it could not be read:"
    return f"{number} folders are not in any chart, because they could not be read:"
