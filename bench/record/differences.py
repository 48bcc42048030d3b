"""Where two JSON documents differ."""

import json
from collections.abc import Iterator


def differences(one: object, other: object, key: str = "") -> Iterator[str]:
    """Where two JSON documents differ, as ``recipe.training.steps: 600 and 300``."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            if not (key == "" and name == "hash"):
                inner = f"{key}.{name}" if key else str(name)
                yield from differences(one.get(name), other.get(name), inner)
    elif one != other:
        texts = (json.dumps(one), json.dumps(other))
        left, right = (text if len(text) <= 60 else f"{text[:57]}..." for text in texts)
        yield f"{key}: {left} and {right}"
