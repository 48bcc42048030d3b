"""The JSON Schemas in ``bench/schemas``: what a document must look like, and where it does not."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
MOST = 5
"""Problems of one document that are named."""


def problems(document: Any, name: str) -> Iterator[str]:
    """What the schema called ``name`` has against a document, with the place in it; the first few."""
    for number, error in enumerate(_validator(name).iter_errors(document)):
        if number == MOST:
            yield "and more"
            return
        place = error.json_path.removeprefix("$").removeprefix(".")
        yield f"'{place}': {error.message}" if place else error.message


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))
