"""Where this code lies, and where what it makes goes."""

from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
"""The folder of ``bench``, ``suites`` and ``wmvla``: a checkout, or site-packages."""


def is_checkout(folder: Path = CODE) -> bool:
    """Whether the code in `folder` is a checkout, with its ``uv.lock`` and perhaps its history."""
    return (folder / "pyproject.toml").is_file()


def working_folder() -> Path:
    """What holds ``results/`` and ``cache/``: the checkout, whatever the current folder is; the
    current folder if the code was installed from a wheel."""
    return CODE if is_checkout() else Path.cwd()
