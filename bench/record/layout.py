"""Which files belong to a run, by their place and name. Pure.

Whatever else lies in a run directory is somebody else's: an editor's backup, a file manager's or a
network disk's own file. It is in no manifest and no seal, and no report is made from it.
"""

REPORTS = frozenset({"report.html", "report.json", "report.md"})
FILES = REPORTS | {"plan.json", "provenance.json", "controls.json", "throughput.json"}
SUFFIXES = {
    "cases": ".json",
    "failures": ".json",
    "imported": ".json",
    "episodes": ".jsonl",
    "metrics": ".jsonl",
    "replays": ".jsonl",
}
"""By folder, the end of its files' names."""
WORKING = frozenset({"checkpoints", "jobs", "logs", "slurm", "videos"})
"""Folders whose files may have any name."""


def belongs(name: str) -> bool:
    """Whether a file is the run's; `name`: its path in the run directory, with ``/``."""
    folder, *rest = parts = name.split("/")
    if any(part.startswith(".") for part in parts):
        return False
    if not rest:
        return name in FILES
    fitting = folder in SUFFIXES and len(rest) == 1 and name.endswith(SUFFIXES[folder])
    return folder in WORKING or fitting
