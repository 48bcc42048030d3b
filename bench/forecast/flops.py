"""Floating-point operations of the models, from their shapes: for times that nobody measured.

A matrix product of (n, k) and (k, m) counts 2 n k m. Norms, softmax, activations and the world
parts (a few per cent) count nothing. tests/bench/forecast/test_flops.py compares with the
operations that torch counts.
"""

from dataclasses import dataclass

from wmvla.recipe import BaseModel, Recipe

CAMERAS = 2
STATE_TOKENS = 1
VJEPA_PATCH, VJEPA_TUBELET = 16, 2
COLOURS = 3


@dataclass(frozen=True)
class PolicyShape:
    """A SmolVLA: what its vision tower, language model and action expert have to multiply."""

    model: BaseModel
    image: int
    """Pixels of a side, as the vision tower sees them."""
    language: int
    """Tokens of an instruction."""
    text_inner: int
    trained: bool
    """Whether vision tower and language model are trained too; else the action expert alone is."""
    parameters: float


@dataclass(frozen=True)
class EncoderShape:
    """A V-JEPA 2: the encoder half."""

    width: int
    layers: int
    image: int
    window: int
    ratio: float
    """Width inside its layers over width between them."""


PUBLISHED_POLICY = PolicyShape(
    BaseModel(
        source="hub",
        text_hidden=960,
        text_layers=32,
        text_heads=15,
        text_key_value_heads=5,
        vision_hidden=768,
        vision_layers=12,
        vision_patch=16,
        vision_scale_factor=4,
        expert_width_multiplier=0.5,
        chunk_size=50,
    ),
    image=512,
    language=48,
    text_inner=2560,
    trained=False,
    parameters=605e6,
)
"""HuggingFaceVLA/smolvla_libero, as public reports describe it: all 32 layers of SmolVLM2-500M."""
PUBLISHED_ENCODER = EncoderShape(width=1408, layers=40, image=256, window=4, ratio=48 / 11)
"""V-JEPA 2 ViT-g."""
LIBERO_WORDS = 12
"""Tokens of a LIBERO sentence in a tokenizer that was trained on them."""


def policy_shape(recipe: Recipe) -> PolicyShape:
    """The recipe's policy; a published one is taken to be SmolVLA's for LIBERO."""
    model = recipe.base
    if model.source == "hub":
        return PUBLISHED_POLICY
    inner = 4 * model.text_hidden
    layer = _text_layer(model, inner) + _expert_layer(model)
    parameters = model.text_layers * layer + model.vision_layers * _vision_layer(model)
    image = recipe.environment.image_size
    return PolicyShape(model, image, LIBERO_WORDS, inner, True, parameters)


def encoder_shape(recipe: Recipe) -> EncoderShape:
    """The recipe's world encoder; a published one is taken to be ViT-g."""
    world = recipe.world
    if world.encoder != "tiny":
        return PUBLISHED_ENCODER
    return EncoderShape(
        world.encoder_hidden, world.encoder_layers, recipe.environment.image_size, world.window, 4.0
    )


def training_operations(shape: PolicyShape) -> float:
    """Of one sample, forward and backward: twice the forward pass again for what is trained."""
    seen, acted = _prefix(shape), _expert(shape)
    return (3 if shape.trained else 1) * seen + 3 * acted


def query_operations(shape: PolicyShape) -> float:
    """Of one chunk of actions: the prefix once, the expert at every denoising step."""
    return _prefix(shape) + shape.model.num_denoising_steps * _expert(shape)


def clip_operations(shape: EncoderShape) -> float:
    tokens = (shape.image // VJEPA_PATCH) ** 2 * shape.window / VJEPA_TUBELET
    weights = (4 + 2 * shape.ratio) * shape.width**2
    return shape.layers * (2 * tokens * weights + 4 * tokens**2 * shape.width)


def trained_parameters(shape: PolicyShape) -> float:
    """Weights that an optimizer keeps moments of."""
    frozen_but_expert = shape.model.text_layers * _expert_layer(shape.model)
    return shape.parameters if shape.trained else frozen_but_expert


def _prefix(shape: PolicyShape) -> float:
    """Vision tower and language model, on all cameras."""
    model = shape.model
    patches = (shape.image // model.vision_patch) ** 2
    squeezed = patches // model.vision_scale_factor**2
    tower = 2 * patches * _vision_layer(model) + 4 * patches**2 * model.vision_hidden
    embedding = 2 * patches * model.vision_hidden * COLOURS * model.vision_patch**2
    joined = model.vision_hidden * model.vision_scale_factor**2
    connector = 2 * squeezed * joined * model.text_hidden
    tokens = _prefix_tokens(shape)
    text = 2 * tokens * _text_layer(model, shape.text_inner) + 4 * tokens**2 * model.text_hidden
    seen = model.vision_layers * tower + embedding + connector
    return CAMERAS * seen + model.text_layers * text


def _expert(shape: PolicyShape) -> float:
    chunk, model = shape.model.chunk_size, shape.model
    attended = chunk + _prefix_tokens(shape)
    attention = 4 * chunk * attended * model.text_hidden
    return model.text_layers * (2 * chunk * _expert_layer(model) + attention)


def _prefix_tokens(shape: PolicyShape) -> int:
    squeezed = (shape.image // shape.model.vision_patch // shape.model.vision_scale_factor) ** 2
    return CAMERAS * squeezed + shape.language + STATE_TOKENS


def _vision_layer(model: BaseModel) -> float:
    return 12 * model.vision_hidden**2


def _text_layer(model: BaseModel, inner: int) -> float:
    keys = model.text_hidden * model.text_key_value_heads // model.text_heads
    return 2 * model.text_hidden * (model.text_hidden + keys) + 3 * model.text_hidden * inner


def _expert_layer(model: BaseModel) -> float:
    """LeRobot rounds what lies inside a layer, 8/3 of its width, up to a multiple of 256."""
    width = int(model.text_hidden * model.expert_width_multiplier)
    inner = 256 * -(-int(4 * int(2 * width / 3)) // 256)
    keys = model.text_hidden * model.text_key_value_heads // model.text_heads
    return 2 * width * (model.text_hidden + keys) + 3 * width * inner
