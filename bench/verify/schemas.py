"""The JSON Schemas in ``bench/schemas``: what a document must look like, and where it does not."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
MOST = 5
"""Problems of one document that are named."""
SAID = frozenset({"$schema", "title", "description"})
"""Keywords that ask nothing."""
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}

Accepts = Callable[[Any], bool]


def problems(document: Any, name: str) -> Iterator[str]:
    """What the schema called ``name`` has against a document, with the place in it; the first few."""
    if _quick(name)(document):
        return
    for number, error in enumerate(_validator(name).iter_errors(document)):
        if number == MOST:
            yield "and more"
            return
        place = error.json_path.removeprefix("$").removeprefix(".")
        yield f"'{place}': {error.message}" if place else error.message


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))


@functools.cache
def _quick(name: str) -> Accepts:
    return _accepts(_validator(name).schema)


def _accepts(schema: Any) -> Accepts:
    """Whether a value satisfies a schema, 30 times as fast as jsonschema says it: a journal may have 100,000 lines.

    Non-obvious: it may say no to a good value (an integer written as 1.0, a keyword that is not known here), and then
    jsonschema is asked. It never says yes to a bad one.
    """
    if schema is True:
        return lambda value: True
    if not isinstance(schema, dict):
        return lambda value: False
    tests = [
        test for key, said in schema.items() if key not in SAID for test in (_keyword(key, said, schema),) if test is not None
    ]
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _keyword(key: str, said: Any, schema: dict[str, Any]) -> Accepts | None:
    """The test of one keyword; None where another keyword's makes it."""
    if key == "type":
        kinds = tuple(kind for name in ([said] if isinstance(said, str) else said) for kind in TYPES[name])
        return lambda value: isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    if key == "enum":
        return lambda value: any(value == item and type(value) is type(item) for item in said)
    if key == "minimum":
        return lambda value: not isinstance(value, int | float) or value >= said
    if key == "maximum":
        return lambda value: not isinstance(value, int | float) or value <= said
    if key == "required":
        return lambda value: not isinstance(value, dict) or all(name in value for name in said)
    if key == "items":
        accepts = _accepts(said)
        return lambda value: not isinstance(value, list) or all(accepts(item) for item in value)
    if key == "anyOf":
        choices = [_accepts(choice) for choice in said]
        return lambda value: any(accepts(value) for accepts in choices)
    if key == "properties":
        return _object(said, schema.get("additionalProperties", True))
    if key == "additionalProperties":
        return None if "properties" in schema else _object({}, said)
    return lambda value: False


def _object(properties: dict[str, Any], rest: Any) -> Accepts:
    known = {name: _accepts(said) for name, said in properties.items()}
    others = _accepts(rest)
    return lambda value: not isinstance(value, dict) or all(known.get(key, others)(item) for key, item in value.items())
