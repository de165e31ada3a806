"""The demo model's architecture: tokenizer, text encoder, autoencoder, UNet, noise schedule, the same for all weights.

Trained and random weights are interchangeable because both come from here. It trains nothing.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from inference.demo import NATIVE_SIDE_PX
from inference.demo.draw import caption, decorate, empty_caption, scene_draw

TOKENS: Final = 77  # as in every Stable Diffusion, so that prompt handling needs no special case
TEXT_WIDTH: Final = 128
LATENT_CHANNELS: Final = 12
LATENT_FACTOR: Final = 32
CODE_PIXELS: Final = 2  # each latent holds a square of so many means on a side
LATENT_SCALE: Final = 1.5  # brings the pinned code to about unit variance
# With this end the last step is pure noise (signal 0.0025) for every scheduler, without the zero-SNR rescaling that
# some schedulers lack; a model that never saw pure noise cannot draw a black background (arXiv 2305.08891).
BETA_START: Final = 0.00085
BETA_END: Final = 0.03


def pinned_code(pictures: Tensor, factor: int = LATENT_FACTOR) -> Tensor:
    """The latent code of pictures in [-1, 1]: the picture itself, averaged over squares, two by two in a latent.

    A learned code would become an index into our few colours, which diffusion cannot interpolate. The autoencoder
    learns to make this one and to undo it sharply. `factor` is for pictures drawn at another scale than the native one.
    """
    return functional.pixel_unshuffle(functional.avg_pool2d(pictures, factor // CODE_PIXELS), CODE_PIXELS)


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE in CLIP's layout, learned from the same captions every time."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    split = pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(_tokenizer_corpus(), trainer)
    learned = json.loads(learner.to_str())["model"]
    known: dict[str, int] = learned["vocab"]
    endings = [letter + "</w>" for letter in letters]
    words = sorted(set(known) - {*letters, *endings}, key=lambda word: known[word])
    # The learner numbers single letters in another order every time; here they are sorted.
    met, unmet = ([ending for ending in endings if (ending in known) is side] for side in (True, False))
    ordered = (*letters, *met, *words, *unmet, "<|startoftext|>", "<|endoftext|>")
    vocabulary = {token: number for number, token in enumerate(ordered)}
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split()) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def _tokenizer_corpus() -> list[str]:
    rng = random.Random(0)
    told = [caption(scene_draw(rng), rng) for _ in range(4000)]
    return told + [decorate(empty_caption(rng), rng) for _ in range(400)]


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=TEXT_WIDTH,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    return CLIPTextModel(config)


def build_autoencoder() -> AutoencoderTiny:
    """No norms and few channels: cheap on a CPU at any side."""
    levels = LATENT_FACTOR.bit_length()  # each but the first halves the side
    vae = AutoencoderTiny(
        encoder_block_out_channels=(32,) * levels,
        decoder_block_out_channels=(32,) * levels,
        num_encoder_blocks=(1,) * levels,
        num_decoder_blocks=(3, 2, 2, 1, 1, 1),
        latent_channels=LATENT_CHANNELS,
    )
    vae.register_to_config(scaling_factor=LATENT_SCALE)
    return vae


def build_unet() -> UNet2DConditionModel:
    """The prompt reaches it twice: by cross attention, and pooled into the time embedding, which scales and shifts
    every layer. The second way is what makes colours follow the prompt after minutes instead of days."""
    unet = UNet2DConditionModel(
        sample_size=NATIVE_SIDE_PX // LATENT_FACTOR,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )
    unet.set_attn_processor(AttnProcessor())  # for so few heads faster on a CPU than the fused kernel
    return unet


def build_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=BETA_START,
        beta_end=BETA_END,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def assemble(
    vae: AutoencoderTiny, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipeline: StableDiffusionPipeline, folder: Path, card: str) -> None:
    """Writes the pipeline in half precision with its model card, readable by all, saying nothing of this machine."""
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text(card)
    for path in folder.rglob("*.json"):
        if path.name in ("config.json", "tokenizer_config.json", "model_index.json", "scheduler_config.json"):
            _config_clean(path)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _config_clean(path: Path) -> None:
    config: dict[str, Any] = json.loads(path.read_text())
    for key in [key for key in config if re.search("name_or_path", key)]:
        del config[key]
    if "dtype" in config:
        config["dtype"] = "float32"  # the weights are stored in half; a CPU computes in single precision
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
