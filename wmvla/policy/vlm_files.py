"""Whether the files of the model that a policy starts from say which model it is, and whether its
tokens have numbers that it can have embeddings for."""

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from wmvla.errors import UserError
from wmvla.files import read_object

FILE, MODEL = "tokenizer.json", "config.json"
MOST_TOKENS = 10_000_000


def check_vlm(name: object) -> None:
    """The configuration of the SmolVLM ``name``, a folder or a hub id, describes both of its parts;
    of one that it left out the library would make another, of billions of weights.

    Raises:
        UserError: naming the file and the key; or see ``check_tokens``.
    """
    check_tokens(name)
    path = _file(str(name), MODEL)
    fields = {} if path is None else read_object(path)
    for key in ("text_config", "vision_config"):
        if path is not None and not isinstance(fields.get(key), dict):
            raise UserError(f"{path}: '{key}' is missing: fetch it again.")


def check_tokens(name: object) -> None:
    """Every token of the tokenizer ``name``, a folder or a hub id, has a number of its own.

    Non-obvious: the library takes memory for every number below the greatest, and prints those
    that are not there.

    Raises:
        UserError: naming the file and the token.
    """
    if not isinstance(name, str):
        raise UserError(f"'{name}' is no folder or hub id of a tokenizer: correct its name.")
    path, model = (_file(name, file) for file in (FILE, MODEL))
    if path is None:
        return
    content = read_object(path)
    described, added = content.get("model"), content.get("added_tokens") or []
    known = described.get("vocab") if isinstance(described, dict) else None
    # that of other kinds is a list, whose places are the numbers
    numbered = list(known.items()) if isinstance(known, dict) else []
    if not isinstance(added, list) or not all(isinstance(one, dict) for one in added):
        raise UserError(f"{path}: 'added_tokens' is no list of tokens: fetch it again.")
    numbered += [(one.get("content"), one.get("id")) for one in added]
    most = MOST_TOKENS
    if model is not None:
        fields = read_object(model)
        text = fields.get("text_config")
        size = (text if isinstance(text, dict) else fields).get("vocab_size")
        most = size if type(size) is int and size > 0 else most
    owner: dict[object, object] = {}
    for token, number in numbered:
        if type(number) is not int or not 0 <= number < most:
            raise UserError(
                f"{path}: the token {token!r} has the number {number}, not one of 0 to {most - 1}:"
                " fetch it again."
            )
        if owner.setdefault(number, token) != token:
            raise UserError(
                f"{path}: the tokens {owner[number]!r} and {token!r} both have the number"
                f" {number}: fetch it again."
            )


def _file(name: str, file: str) -> Path | None:
    if Path(name).is_dir():
        return Path(name) / file if (Path(name) / file).is_file() else None
    try:
        cached = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None
