"""``--rename_map`` for checkpoints whose images have the data's own names already."""

import json

from wmvla.commands.lerobot_main import value_of, without
from wmvla.errors import UserError
from wmvla.policy.weights import checkpoint_fields, checkpoint_folder


def needed_renames(arguments: list[str], source: str) -> list[str]:
    """``arguments`` with only those entries of ``--rename_map`` that lead to a name which the
    checkpoint ``source`` knows.

    Non-obvious: the reference's commands give the map at every step. A ``smolvla_world`` that was
    converted with it asks for the data's own names, and renaming them once more would hide its
    images. UserError: not JSON; an entry of which the checkpoint knows neither side.
    """
    text = value_of("rename_map", arguments)
    if text is None:
        return arguments
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        form = '--rename_map=\'{"name in the data": "name in the policy"}\''
        raise UserError(f"--rename_map={text} is not JSON ({error}): write {form}.") from error
    known = checkpoint_fields(checkpoint_folder(source)).get("input_features") or {}
    for data, name in entries.items():
        if data not in known and name not in known:
            raise UserError(
                f"--rename_map renames {data} to {name}, but {source} needs {', '.join(known)}."
            )
    needed = {data: name for data, name in entries.items() if data not in known}
    kept = [f"--rename_map={json.dumps(needed)}"] if needed else []
    return [*without("rename_map", arguments), *kept]
