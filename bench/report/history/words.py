"""What the page of runs over time says."""

TITLE = "Runs over time"
LEAD = (
    "Every run below this folder, by suite, scale and machine. Runs stand at even distances in the"
    " order of their beginning; a line joins runs of one plan only, because those of another plan"
    " answer another question. Intervals are Wilson's at 95 %, of one run's episodes: a step"
    " between two runs is judged by wmbench compare, which pairs them, and not by eye."
)
NO_RUNS = "No run is here yet."
UNDATED = "no date"


def told(runs: int, groups: int, unreadable: int) -> str:
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
        return "One folder is in no chart, because nothing can be told of it:"
    return f"{number} folders are in no chart, because nothing can be told of them:"
