"""Tiny random-weight models of the true layouts, built from configuration alone: no download, seconds on one core.

Pixels drawn by these mean nothing; their layouts (module names, shapes' proportions, number of encoders) are the real
ones, so code that handles them handles the full-size models. The same seed gives the same weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

WORDS = ("a", "photo", "of", "red", "cat", "blue", "dog")
NOISE_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


# --- Parts ------------------------------------------------------------------------------------------------------------


def clip_tokenizer(max_length: int = 77, words: Iterable[str] = WORDS) -> CLIPTokenizer:
    """The CLIP layout: 256 bytes, the same with an end mark, merges of a few words, the two special tokens last."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(alphabet + [letter + "</w>" for letter in alphabet])}
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
            parts[:2] = ["".join(pair)]
            vocabulary.setdefault(parts[0], len(vocabulary))
    for token in ("<|startoftext|>", "<|endoftext|>"):  # The pooled output looks for the highest id.
        vocabulary[token] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)


def t5_tokenizer(max_length: int = 77) -> T5TokenizerFast:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=max_length)


def clip_text(tokenizer: CLIPTokenizer, width: int = 32, *, projection: bool = False, layers: int = 3) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=width,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def t5_encoder(tokenizer: T5TokenizerFast, width: int = 32) -> T5EncoderModel:
    config = T5Config(vocab_size=len(tokenizer), d_model=width, d_ff=64, d_kv=8, num_layers=2, num_heads=4)
    return T5EncoderModel(config).eval()


def vae(
    channels: int = 4, scaling: float = 0.18215, shift: float | None = None, *, quant: bool = True
) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        scaling_factor=scaling,
        shift_factor=shift,
        use_quant_conv=quant,
        use_post_quant_conv=quant,
    ).eval()


def unet(cross_width: int = 32, *, in_channels: int = 4, pooled_width: int = 0, **extra: Any) -> UNet2DConditionModel:
    """`pooled_width` > 0 gives the SDXL layout (size conditions and pooled text joined to the time embedding)."""
    layout: dict[str, Any] = {"attention_head_dim": 2}
    if pooled_width:
        layout = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + pooled_width,
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
            "attention_head_dim": (2, 4),
        }
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross_width,
        **(layout | extra),
    ).eval()


# --- Pipelines of the four families -----------------------------------------------------------------------------------


def sd15(seed: int = 0, *, in_channels: int = 4, scheduler: Any = None) -> StableDiffusionPipeline:
    """Stable Diffusion 1.x; `in_channels=9` is the inpainting layout (latents, mask, masked picture)."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip_text(tokenizer),
        tokenizer=tokenizer,
        unet=unet(in_channels=in_channels),
        scheduler=scheduler or DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **NOISE_SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd2(seed: int = 0) -> StableDiffusionPipeline:
    """Stable Diffusion 2.x: linear projections around attention, and velocity in place of noise as prediction."""
    scheduler = DDIMScheduler(
        clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction", **NOISE_SCHEDULE
    )
    pipe = sd15(seed, scheduler=scheduler)
    pipe.register_modules(unet=unet(use_linear_projection=True))
    return pipe


def sdxl(seed: int = 0, *, in_channels: int = 4) -> StableDiffusionXLPipeline:
    """The two encoders differ in width, as in the real model: readers of single files tell them apart by it."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    return StableDiffusionXLPipeline(
        vae=vae(scaling=0.13025),
        text_encoder=clip_text(tokenizer),
        text_encoder_2=clip_text(tokenizer, 64, projection=True),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet(96, in_channels=in_channels, pooled_width=64),
        scheduler=EulerDiscreteScheduler(**NOISE_SCHEDULE),
    )


def sdxl_refiner(seed: int = 0) -> Any:
    """The refiner layout: only the second encoder, and an aesthetic score in place of the target size (5 numbers)."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    return StableDiffusionXLImg2ImgPipeline(
        vae=vae(scaling=0.13025),
        text_encoder=None,
        text_encoder_2=clip_text(tokenizer, 64, projection=True),
        tokenizer=None,
        tokenizer_2=tokenizer,
        unet=unet(64, pooled_width=64, projection_class_embeddings_input_dim=5 * 8 + 64),
        scheduler=EulerDiscreteScheduler(**NOISE_SCHEDULE),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
    )


def sd3(seed: int = 0, *, dual_attention_layers: tuple[int, ...] = (), qk_norm: str | None = None) -> Any:
    """Stable Diffusion 3; `dual_attention_layers=(0,)` and `qk_norm="rms_norm"` give the 3.5 medium layout."""
    torch.manual_seed(seed)
    tokenizer, t5_tok = clip_tokenizer(), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=96,
        caption_projection_dim=32,
        pooled_projection_dim=96,
        pos_embed_max_size=48,
        dual_attention_layers=dual_attention_layers,
        qk_norm=qk_norm,
    ).eval()
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(16, 1.5305, 0.0609, quant=False),
        text_encoder=clip_text(tokenizer, projection=True),
        text_encoder_2=clip_text(tokenizer, 64, projection=True),
        text_encoder_3=t5_encoder(t5_tok, 96),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tok,
    )


def flux(seed: int = 0, *, guidance: bool = True) -> FluxPipeline:
    """Flux dev; `guidance=False` is the schnell layout, which has no guidance embedding."""
    torch.manual_seed(seed)
    tokenizer, t5_tok = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 6, 6),
        guidance_embeds=guidance,
    ).eval()
    shifting = {"shift": 3.0, "use_dynamic_shifting": True} if guidance else {"shift": 1.0}
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(**shifting),
        vae=vae(16, 0.3611, 0.1159, quant=False),
        text_encoder=clip_text(tokenizer),
        text_encoder_2=t5_encoder(t5_tok),
        tokenizer=tokenizer,
        tokenizer_2=t5_tok,
    )


# --- Beside the base models -------------------------------------------------------------------------------------------


def controlnet(network: UNet2DConditionModel, seed: int = 0, **extra: Any) -> ControlNetModel:
    """A ControlNet of this UNet. A fresh one is a no-op (zero convolutions), so those are filled with noise.

    The hint's own last layer gets much more of it: else another hint would hardly make another picture.
    """
    torch.manual_seed(seed)
    net = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(8, 8, 16, 16)).eval()
    if extra:
        net.register_to_config(**extra)
    for end, std in ((net.controlnet_down_blocks, 0.05), (net.controlnet_mid_block, 0.05)):
        for parameter in end.parameters():
            torch.nn.init.normal_(parameter, std=std)
    torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=30.0)
    return net


def flow_controlnet(transformer: Any, seed: int = 0) -> Any:
    """A ControlNet of an SD3 or Flux transformer. Its zero layers are filled with noise, as above."""
    from diffusers import FluxControlNetModel, SD3ControlNetModel

    torch.manual_seed(seed)
    config = {key: value for key, value in transformer.config.items() if not key.startswith("_")}
    if isinstance(transformer, FluxTransformer2DModel):
        net = FluxControlNetModel.from_config(config | {"num_layers": 1, "num_single_layers": 1, "num_mode": 7})
    else:
        net = SD3ControlNetModel.from_config(config | {"num_layers": 1, "force_zeros_for_pooled_projection": False})
    for name, parameter in net.named_parameters():
        if "controlnet" in name or "pos_embed_input" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def safety_checker(*, flags: bool, width: int = 32, side_px: int = 32) -> tuple[Any, CLIPImageProcessorPil]:
    """The CLIP safety checker and its preprocessor; it flags every picture or none, so that both ways can be tested."""
    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=width, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=600
    )
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=side_px,
        patch_size=8,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
    checker = StableDiffusionSafetyChecker(config).eval()
    for concepts in (checker.concept_embeds, checker.special_care_embeds):
        torch.nn.init.normal_(concepts)
    for thresholds in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        thresholds.data.fill_(-1.0 if flags else 1.0)  # A cosine is above -1 always and above 1 never.
    crop = {"height": side_px, "width": side_px}
    return checker, CLIPImageProcessorPil(size={"shortest_edge": side_px}, crop_size=crop)


def clip_vision(width: int = 32, side_px: int = 32, projection: int = 24) -> CLIPVisionModelWithProjection:
    """The picture encoder of an IP-Adapter."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=side_px,
        patch_size=8,
        projection_dim=projection,
    )
    return CLIPVisionModelWithProjection(config).eval()


def rrdbnet_state(
    *, features: int = 16, blocks: int = 2, growth: int = 8, scale: int = 4, seed: int = 0
) -> dict[str, torch.Tensor]:
    """An upscaler's weights in the Real-ESRGAN layout; scale 2 and 1 take 4 and 16 pixels per input channel."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, channels_in: int, channels_out: int) -> None:
        state[f"{name}.weight"] = torch.randn(channels_out, channels_in, 3, 3, generator=generator) * 0.05
        state[f"{name}.bias"] = torch.zeros(channels_out)

    conv("conv_first", 3 * {4: 1, 2: 4, 1: 16}[scale], features)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for layer in range(5):
                out = growth if layer < 4 else features
                conv(f"body.{block}.rdb{dense}.conv{layer + 1}", features + layer * growth, out)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        conv(name, features, features)
    conv("conv_last", features, 3)
    return state


def save(model: Any, folder: Path | str) -> Path:
    """`model` (a pipeline, a network, a processor) as a diffusers or transformers folder."""
    model.save_pretrained(str(folder))
    return Path(folder)
