"""What no check can know: the one list of it, with reasons."""

import re

WEIGHTS = "a weight's value: any finite number may have been learnt"
DESIGN = "a choice of the model's design that leaves no trace in the shapes of its weights"
DEFAULT = (
    f"{DESIGN}; one that is missing has LeRobot's default, as in checkpoints of older versions"
)
MEASURED = "a number that was measured, or an image"
PLAUSIBLE = "a statistic that stays plausible, and that may be of more data than are there"
UNREAD = "a statistic that no policy is given, or that a policy which needs it is refused without"

UNKNOWABLE: dict[tuple[str, str], str] = {
    (r"(checkpoint|world)/model\.safetensors", r"[^+-].*\.(data|dtype)"): WEIGHTS,
    (
        r"(checkpoint|world)/config\.json",
        r"-?(num_steps|n_action_steps|min_period|max_period)",
    ): DEFAULT,
    (r"world/config\.json", r"-?(prophet_heads|world_inject_num_heads)"): DEFAULT,
    (
        r"vlm/config\.json",
        r"-?(text|vision)_config\.(rms_norm_eps|layer_norm_eps|hidden_act)",
    ): DEFAULT,
    (r"vlm/config\.json", r"-?text_config\.rope_parameters\.rope_theta"): DEFAULT,
    (r"(checkpoint|world)/config\.json", r"-?resize_imgs_with_padding.*"): DEFAULT,
    (r"(vlm|encoder)/config\.json", r"\+[\w.]+"): (
        "a key that transformers keeps and reads nowhere, as those of its other versions"
    ),
    (r"encoder/config\.json", r"-?(num_attention_heads|crop_size)"): (
        f"{DESIGN}; an encoder is known by its weights and its preprocessing"
    ),
    (r"vlm/tokenizer\.json", r"[+-]?(model\.(merges|vocab)|pre_tokenizer)\..*"): (
        "what the tokenizer makes of a sentence: any table of tokens is one"
    ),
    (r"(images|videos)/data/.*", r"observation\.(state|images\.\w+)|action"): MEASURED,
    (r"(images|videos)/meta/tasks\.parquet", "task"): "a sentence may be any text",
    (r"videos/videos/.*\.mp4", "bytes"): f"{MEASURED}: the format has no checksums",
    (
        r"(images|videos)/meta/stats\.json",
        r"(observation\.state|action)\.(mean|std|min|max|q\d\d)\.\d",
    ): PLAUSIBLE,
    (r"(images|videos)/meta/stats\.json", r"observation\.images\.\w+\.\w+\.\d\.0\.0"): PLAUSIBLE,
    (r"(images|videos)/meta/stats\.json", r"[+-]?[\w.]+\.count(\.0)?"): UNREAD,
    (r"(images|videos)/meta/stats\.json", r"[+-]?\w*(index|timestamp)\..*"): UNREAD,
    (
        r"(images|videos)/meta/stats\.json",
        r"-observation\.images\..*|-.*\.(min|max|q\d\d)\.\d",
    ): UNREAD,
}
"""Part and file, and the keys in it, both as regular expressions -> why.

``-key`` is one that is gone, ``+key`` one that came."""


def is_unknowable(file: str, keys: list[str]) -> bool:
    """Whether every one of ``keys`` is in the list."""
    return bool(keys) and all(
        any(re.fullmatch(place, file) and re.fullmatch(known, key) for place, known in UNKNOWABLE)
        for key in keys
    )
