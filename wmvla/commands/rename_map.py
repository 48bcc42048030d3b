"""``--rename_map`` for checkpoints whose images have the data's own names already."""

import json
import sys
from pathlib import Path

from wmvla.commands.lerobot_main import value_of, without
from wmvla.errors import UserError
from wmvla.policy.weights import checkpoint_fields


def needed_renames(arguments: list[str], folder: Path) -> list[str]:
    """``arguments`` with only those entries of ``--rename_map`` that lead to a name which the
    checkpoint in ``folder`` knows.

    Non-obvious: the reference's commands give the map at every step. A ``smolvla_world`` that was
    converted with it asks for the data's own names, and renaming them once more would hide its
    images.

    Raises:
        UserError: not JSON; an entry whose new name the checkpoint does not know.
    """
    text = value_of("rename_map", arguments)
    if text is None:
        return arguments
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        form = '--rename_map=\'{"name in the data": "name in the policy"}\''
        raise UserError(f"--rename_map={text} is not JSON ({error}): write {form}.") from error
    fields = checkpoint_fields(folder)
    known = fields.get("input_features") or {}
    converted = known if fields.get("type") == "smolvla_world" else {}
    done = {data: name for data, name in entries.items() if data in converted and name not in known}
    for data, name in entries.items():
        if known and name not in known and data not in done:
            raise UserError(
                f"--rename_map renames {data} to {name}, but {folder} needs {', '.join(known)}."
            )
    if done:
        print(f"{folder} asks for {', '.join(done)} itself: not renamed.", file=sys.stderr)
    needed = {data: name for data, name in entries.items() if data not in done}
    return [
        *without("rename_map", arguments),
        *([f"--rename_map={json.dumps(needed)}"] if needed else []),
    ]
