"""Which files of the hub a plan needs, where they lie, and how they get there."""

from collections.abc import Iterable

from bench.forecast.hub import Needed


def file_lines(needs: Iterable[Needed]) -> list[str]:
    """A paragraph for each repository: folder, what is there, what is missing, what fetches it."""
    lines = []
    for needed in needs:
        files = [(file, "here" if there else "missing") for file, there in needed.files.items()]
        lines += [f"{needed.what}: {needed.name}", f"  in       {needed.folder}"]
        for state in ("here", "missing"):
            lines += [f"  {state:<7}  {file}" for file, found in files if found == state]
        lines += [f"  get      {needed.command}"] if needed.missing else []
        lines += [""]
    return lines
