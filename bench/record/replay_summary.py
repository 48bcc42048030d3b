"""What the lines of a replay say together: the figures of its record."""

from typing import Any


def summary(episodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over all frames and actions; ``range``: lowest and highest of a single episode."""
    horizon = range(len(episodes[0]["valid"]))
    valid = [sum(episode["valid"][k] for episode in episodes) for k in horizon]
    prophet: dict[str, Any] = {"valid": valid}
    for name in ("cosine", "mean_delta_cosine"):
        sums = [
            sum(episode["valid"][k] * episode[name][k] for episode in episodes) for k in horizon
        ]
        prophet[name] = [total / max(count, 1) for total, count in zip(sums, valid, strict=True)]
        prophet[f"{name}_overall"] = sum(sums) / max(sum(valid), 1)
        prophet[f"{name}_range"] = _range([_overall(episode, name) for episode in episodes])
    totals = {
        key: sum(episode[key] for episode in episodes) for key in ("frames", "queries", "actions")
    }
    errors = {}
    for mode in episodes[0]["action_error"]:
        total = sum(episode["actions"] * episode["action_error"][mode] for episode in episodes)
        each = [episode["action_error"][mode] for episode in episodes]
        errors[mode] = {"mean": total / max(totals["actions"], 1), "range": _range(each)}
    return {"episodes": len(episodes), **totals, "prophet": prophet, "action_error": errors}


def _overall(episode: dict[str, Any], name: str) -> float:
    total = sum(count * value for count, value in zip(episode["valid"], episode[name], strict=True))
    return total / max(sum(episode["valid"]), 1)


def _range(values: list[float]) -> list[float]:
    return [min(values), max(values)]
