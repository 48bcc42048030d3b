"""What `wmbench verify` found: damages, one line each, and notes on what could not be checked."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.formats.one_line import one_line
from bench.formats.strict_json import NotStrictError, parse
from wmvla.errors import answer_of_system


@dataclass(frozen=True)
class Damage:
    file: str
    """Path in the run directory."""
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass
class Findings:
    run_dir: Path
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    """What was looked at, a few words each."""

    def damage(self, file: str, what: str) -> None:
        """Note a damage, once."""
        found = Damage(one_line(file), one_line(what))
        if found not in self.damages:
            self.damages.append(found)

    def damaged(self, files: Iterable[str]) -> list[str]:
        """Those of the files, in order, that something is wrong with."""
        named = {damage.file for damage in self.damages}
        return [file for file in files if file in named]

    def files[T](
        self, folder: str, suffix: str, known: Mapping[str, T], what: str
    ) -> Iterator[tuple[str, Path, T]]:
        """The visible files of a folder, by name one of the `known`; any other is a damage."""
        for path in sorted((self.run_dir / folder).glob(f"[!.]*{suffix}")):
            if path.name in known:
                yield f"{folder}/{path.name}", path, known[path.name]
            else:
                self.damage(f"{folder}/{path.name}", f"not {what} of the plan")

    def read(self, file: str) -> Any:
        """The JSON document in a file of the run; None, and a damage, if it is not one."""
        try:
            document = parse((self.run_dir / file).read_bytes())
            if document is None:
                self.damage(file, "holds null, and nothing else")
            return document
        except OSError as error:
            self.damage(file, f"cannot be read: {answer_of_system(error)}")
        except NotStrictError as error:
            self.damage(file, str(error))
        return None
