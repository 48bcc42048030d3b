"""A SmolVLM2 folder small enough for two cores, made from a seed through transformers' own classes.

It stands where ``HuggingFaceTB/SmolVLM2-500M-Video-Instruct`` stands at full scale: LeRobot's
SmolVLA takes the folder's path as ``vlm_model_name`` and works as with the original.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
)
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

from wmvla.files import new_folder
from wmvla.recipe import BaseModel

SPECIAL_TOKENS = {
    "pad_token": "<|pad|>",
    "bos_token": "<|im_start|>",
    "eos_token": "<end_of_utterance>",
    "unk_token": "<|unk|>",
}
IMAGE_TOKENS = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
    "video_token": "<video>",
}
VOCABULARY_SIZE = 512
"""Enough for LIBERO's 130 sentences at about two tokens a word."""


def train_tokenizer(sentences: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on ``sentences``, with SmolVLM's special tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(dict.fromkeys([*SPECIAL_TOKENS.values(), *IMAGE_TOKENS.values()])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(s + "\n" for s in sentences), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **SPECIAL_TOKENS, extra_special_tokens=IMAGE_TOKENS
    )


def make_tiny_vlm(folder: Path, model: BaseModel, image_size: int, sentences: list[str]) -> Path:
    """Write a tiny SmolVLM2 (config, random weights, tokenizer, processor) to ``folder``, unless it
    is there, and return it. ``image_size``: side of the square images in pixels; a multiple of
    patch size x scale factor. ``sentences``: what the tokenizer is trained on."""
    if folder.exists():
        return folder
    tokenizer = train_tokenizer(sentences)
    config = SmolVLMConfig.from_dict(
        {
            "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE_TOKENS["image_token"]),
            "pad_token_id": tokenizer.pad_token_id,
            "scale_factor": model.vision_scale_factor,
            "vision_config": {
                "hidden_size": model.vision_hidden,
                "intermediate_size": 4 * model.vision_hidden,
                "num_hidden_layers": model.vision_layers,
                "num_attention_heads": model.vision_heads,
                "image_size": image_size,
                "patch_size": model.vision_patch,
            },
            "text_config": {
                "model_type": "llama",
                "hidden_size": model.text_hidden,
                "intermediate_size": 4 * model.text_hidden,
                "num_hidden_layers": model.text_layers,
                "num_attention_heads": model.text_heads,
                "num_key_value_heads": model.text_key_value_heads,
                "head_dim": model.text_hidden // model.text_heads,
                "vocab_size": len(tokenizer),
                "rms_norm_eps": 1e-5,
                "max_position_embeddings": 2048,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
            },
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model.seed)
        vlm = SmolVLMForConditionalGeneration(config)
    side = {"longest_edge": image_size}
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(size=side, max_image_size=side),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(
            size=side, max_image_size=side, video_sampling={"fps": 1, "max_frames": 4}
        ),
        image_seq_len=(image_size // model.vision_patch // model.vision_scale_factor) ** 2,
    )
    with new_folder(folder) as unfinished:
        vlm.save_pretrained(unfinished)
        processor.save_pretrained(unfinished)
    return folder
