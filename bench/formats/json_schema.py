"""The JSON Schemas in ``bench/formats/schemas``: what a document must look like, and where it does
not."""

import functools
import json
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).resolve().parent / "schemas"
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
PLAIN: dict[str, tuple[tuple[type, ...], Callable[[Any, Any], bool]]] = {
    "minimum": ((int, float), operator.ge),
    "maximum": ((int, float), operator.le),
    "exclusiveMinimum": ((int, float), operator.gt),
    "exclusiveMaximum": ((int, float), operator.lt),
    "pattern": ((str,), lambda value, said: re.search(said, value) is not None),
    "required": ((dict,), lambda value, said: value.keys() >= set(said)),
    "minItems": ((list,), lambda value, said: len(value) >= said),
    "maxItems": ((list,), lambda value, said: len(value) <= said),
    "minProperties": ((dict,), lambda value, said: len(value) >= said),
    "uniqueItems": (
        (list,),
        lambda value, said: {*map(type, value)} <= {int, str} and len(set(value)) == len(value),
    ),
}
"""By keyword the types that it asks something of, and what: of a value and of what the schema
says."""

Accepts = Callable[[Any], bool]


def problems(document: Any, name: str) -> Iterator[str]:
    """What the schema called ``name`` has against a document, with the place in it; the first
    few."""
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
    return jsonschema.Draft202012Validator(
        json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    )


@functools.cache
def _quick(name: str) -> Accepts:
    return _accepts(_validator(name).schema)


def _accepts(schema: Any) -> Accepts:
    """Whether a value satisfies a schema, 30 times as fast as jsonschema says it: a journal may
    have 100,000 lines.

    Non-obvious: it may say no to a good value (an integer written as 1.0, a keyword that is not
    known here), and then jsonschema is asked. It never says yes to a bad one.
    """
    if schema is True:
        return lambda value: True
    if not isinstance(schema, dict):
        return lambda value: False
    tests = [
        test
        for key, said in schema.items()
        if key not in SAID
        for test in (_keyword(key, said, schema),)
        if test is not None
    ]
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _keyword(key: str, said: Any, schema: dict[str, Any]) -> Accepts | None:
    """The test of one keyword; None where another keyword's makes it."""
    if key in PLAIN:
        kinds, plain = PLAIN[key]
        return lambda value: not isinstance(value, kinds) or plain(value, said)
    if key == "type":
        kinds = tuple(
            kind for name in ([said] if isinstance(said, str) else said) for kind in TYPES[name]
        )
        return lambda value: (
            isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
        )
    if key in ("enum", "const"):
        allowed = said if key == "enum" else [said]
        return lambda value: any(value == item and type(value) is type(item) for item in allowed)
    if key == "items":
        accepts = _accepts(said)
        return lambda value: not isinstance(value, list) or all(map(accepts, value))
    if key in ("anyOf", "allOf"):
        choices, of = [_accepts(choice) for choice in said], any if key == "anyOf" else all
        return lambda value: of(accepts(value) for accepts in choices)
    if key == "propertyNames":
        accepts = _accepts(said)
        return lambda value: not isinstance(value, dict) or all(map(accepts, value))
    if key == "properties":
        return _object(said, schema.get("additionalProperties", True))
    if key == "additionalProperties":
        return None if "properties" in schema else _object({}, said)
    return lambda value: False


def _object(properties: dict[str, Any], rest: Any) -> Accepts:
    known = {name: _accepts(said) for name, said in properties.items()}
    others = _accepts(rest)
    return lambda value: (
        not isinstance(value, dict)
        or all(known.get(key, others)(item) for key, item in value.items())
    )
