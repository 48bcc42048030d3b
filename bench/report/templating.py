"""The templates of a report: a user's own, then ours. HTML is escaped whoever wrote them."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2

from bench.formats.checksums import sha256_of, sha256_of_lines
from bench.report import filters
from bench.wording import numbers
from wmvla.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"


class Templates:
    """Renders templates by name. One in `folder`, a user's, replaces ours of the same name, and may
    include or import ours. UserError if it is no folder, or replaces none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.sha256 = None if folder is None else own_sha256(folder)
        folders = [TEMPLATES] if folder is None else [folder, TEMPLATES]
        loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(each) for each in folders])
        self._html = environment(loader, autoescape=True)
        # Escaped Markdown would be unreadable; without what readers take for a tag it is inert.
        self._markdown = environment(loader, finalize=filters.no_markup)

    def render(self, name: str, shown: Mapping[str, Any]) -> str:
        """The text; ``*.md.j2`` is Markdown, else HTML. UserError: the line of a user's fault."""
        chosen = self._markdown if name.endswith(".md.j2") else self._html
        try:
            return chosen.get_template(name).render(shown)
        except jinja2.TemplateSyntaxError as error:
            if self.folder is None or not _lies_in(error.filename, self.folder):
                raise
            raise UserError(
                f"{error.filename}, line {error.lineno}: {_message(error)}; fix the template"
            ) from None
        except Exception as error:  # whatever a user's template calls for
            line = None if self.folder is None else _last_line(error.__traceback__, self.folder)
            if line is None:
                raise
            raise UserError(f"{line}: {_message(error)}; fix the template") from None


def own_sha256(folder: Path) -> str:
    """SHA-256 over the visible files of a user's folder. UserError if it replaces no template."""
    _check(folder)
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    hidden = {name for name in files if any(part.startswith(".") for part in name.parts)}
    sums = {name.as_posix(): sha256_of(files[name]) for name in files.keys() - hidden}
    return sha256_of_lines(sums)


def _check(folder: Path) -> None:
    ours = sorted(path.name for path in TEMPLATES.iterdir())
    if not folder.is_dir():
        raise UserError(f"--templates {folder}: no such folder")
    if not any((folder / name).is_file() for name in ours):
        names = ", ".join(ours)
        raise UserError(
            f"--templates {folder}: no file in it replaces a template; give one of {names}"
        )


def environment(loader: jinja2.BaseLoader, **options: Any) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    made.filters |= {
        "percent": numbers.percent,
        "points": numbers.points,
        "p_value": numbers.p_value,
        "duration": filters.duration,
        "figure": filters.figure,
        "cosine": "{:.2f}".format,
        "typeset": filters.typeset,
        "one_line": filters.one_line,
        "grouped": filters.grouped,
        "content_hash": filters.content_hash,
        "pair_with": lambda value, other: (value, other),
        "k_heading": "k = {}".format,
    }
    return made


def _message(error: Exception) -> str:
    """What jinja2, or what a template called for, says in its first line."""
    if isinstance(error, jinja2.TemplateNotFound):
        return f"there is no template '{error.name}'"
    text = str(getattr(error, "message", None) or error or type(error).__name__)
    return text.splitlines()[0].rstrip(".")


def _lies_in(file: str | None, folder: Path) -> bool:
    return file is not None and Path(file).resolve().is_relative_to(folder.resolve())


def _last_line(traceback: TracebackType | None, folder: Path) -> str | None:
    """The deepest place in a template of the folder: jinja2 puts them into tracebacks."""
    found = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if _lies_in(file, folder):
            found = f"{file}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
