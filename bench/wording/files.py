"""Which files of the hub a plan needs, where they lie, and how they get there."""

from collections.abc import Iterable

from bench.forecast.hub import Needed


def file_lines(needs: Iterable[Needed]) -> list[str]:
    """A paragraph for each repository: its folder, what is there of it, what is missing and what
    fetches it."""
    lines = []
    for needed in needs:
        here = [file for file, there in needed.files.items() if there]
        lines += [f"{needed.what}: {needed.name}", f"  in       {needed.folder}"]
        lines += [f"  here     {file}" for file in here] + [
            f"  missing  {file}" for file in needed.missing
        ]
        lines += [f"  get      {needed.command}"] if needed.missing else []
        lines += [""]
    return lines
