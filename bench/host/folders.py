"""Where this code lies, and where what it makes goes."""

from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
"""The folder of ``bench``, ``suites`` and ``wmvla``: a checkout, or the site-packages of an
environment that the wheel was installed into."""


def is_checkout(folder: Path = CODE) -> bool:
    """Whether the code in `folder` is a checkout, with its ``uv.lock`` and perhaps its history."""
    return (folder / "pyproject.toml").is_file()


def working_folder() -> Path:
    """What holds ``results/`` and ``cache/`` where nobody says otherwise: the checkout, whatever
    the current folder is; the current folder where the code was installed from a wheel."""
    return CODE if is_checkout() else Path.cwd()
