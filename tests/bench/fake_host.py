"""Other computers: files below a folder, and the answers of their vendors' programs."""

from collections.abc import Sequence
from pathlib import Path

from bench.host.calls import Call


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def answers(**by_program: str | Exception) -> Call:
    """A computer on which these programs give these answers, and no other is there."""

    def call(command: Sequence[str]) -> str | None:
        answer = by_program.get(command[0].replace("-", "_"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call
