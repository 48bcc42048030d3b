"""JSON Schemas of the documents, made of their typed classes: ``bench/formats/schemas``."""

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as kinds

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(cls: type, **more: Any) -> dict[str, Any]:
    """The schema of documents that are read as `cls`; `more`: required keys that the class lacks,
    with their kinds. msgspec gives types and ranges; added is which objects may have further keys,
    and what the docstrings below the attributes say.
    """
    classes = {each.__name__: each for each in _classes(kinds.type_info(cls))}
    (reference,), definitions = msgspec.json.schema_components((cls,))
    for name, definition in definitions.items():
        _complete(definition, classes[name])
    top = definitions.pop(reference["$ref"].rpartition("/")[2])
    for name, kind in more.items():
        top["properties"] = {name: msgspec.json.schema(kind), **top["properties"]}
        top["required"] = [name, *top["required"]]
    return {"$schema": DIALECT, **top, **({"$defs": definitions} if definitions else {})}


def _complete(definition: dict[str, Any], cls: type) -> None:
    says = _docstrings(cls)
    definition["title"] = " ".join((inspect.getdoc(cls) or cls.__name__).split("\n\n")[0].split())
    definition.pop("description", None)
    for name, property_ in definition["properties"].items():
        property_.pop("default", None)
        if name in says:
            property_["description"] = says[name]
    rest = getattr(cls, "__further__", None)
    definition["additionalProperties"] = (
        False if rest is None else True if rest is Any else msgspec.json.schema(rest)
    )


@functools.cache
def _docstrings(cls: type) -> dict[str, str]:
    """The docstrings of a class's attributes, those of its bases too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ not in sys.modules or not hasattr(base, "__annotations__"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(after.value.value).split())
    return found


def _classes(kind: kinds.Type) -> Iterator[type]:
    """The dataclasses and typed dicts in a kind."""
    match kind:
        case kinds.Metadata():
            yield from _classes(kind.type)
        case kinds.UnionType():
            for one in kind.types:
                yield from _classes(one)
        case kinds.DictType():
            yield from _classes(kind.value_type)
        case kinds.ListType() | kinds.VarTupleType():
            yield from _classes(kind.item_type)
        case kinds.DataclassType() | kinds.TypedDictType():
            yield kind.cls
            for field in kind.fields:
                yield from _classes(field.type)
