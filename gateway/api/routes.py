"""The path table: every spelling of every generation of the API, and nothing else. One handler per kind of route.

Paths stand under /api/. A path that ends in {id} takes any last segment. Trailing slashes make no difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import re_path

from gateway.api import profiles
from gateway.api.door import Table, api_view
from gateway.api.profiles import Profile
from gateway.api.route import GET, POST, Route
from gateway.api.views import absent, account, generation, jobs, keys, models, pictures, usage

BOTH = (GET, POST)
NO_TRAINING = {
    "what": "training or loading of models over the API",
    "instead": "The operator adds models and adapters to the catalogue; the model lists show them.",
}
NO_SERVER_CONTROL = {
    "what": "control of servers over the API",
    "instead": "The operator's console does this.",
}
NO_ANIMATION = {
    "what": "zoom and pan animations",
    "instead": "v6/image_editing/outpaint extends a picture.",
}
NO_VIDEO = {
    "what": "video",
    "instead": "This service makes pictures only.",
}
NO_INTERIOR = {
    "what": "redesign of rooms as a route of its own",
    "instead": "v6/images/controlnet with mlsd or depth keeps a room's lines.",
}
NO_PROMPT_CHECK = {
    "what": "a check of prompts apart from generation",
    "instead": "Every prompt is checked when it is sent.",
}
ABSENT = {
    "face_gen": ("pictures of a given face", "a render engine for face models, which this version has not"),
    "head_shot": ("head shots of a given face", "a render engine for face models, which this version has not"),
    "flux_headshot": ("head shots of a given face", "a render engine for face models, which this version has not"),
    "fashion": ("virtual try-on", "a render engine for try-on models, which this version has not"),
    "img_mixer": ("mixing of pictures", "a render engine for picture mixing models, which this version has not"),
    "qwen_edit": ("editing by instruction", "a render engine for Qwen's editing models, which this version has not"),
    "caption": ("captions of pictures", "a render engine for captioning models, which this version has not"),
    "blip_diffusion": (
        "subject-driven pictures",
        "a render engine for BLIP diffusion models, which this version has not",
    ),
    "magic_mix": ("semantic mixing", "a render engine for picture mixing models, which this version has not"),
}
ABSENT_V5 = {
    "magic_mix": ABSENT["magic_mix"],
    "pix2pix": ("editing by instruction", "a render engine for InstructPix2Pix models, which this version has not"),
}
VIDEO = (
    "v5/text2video",
    "v6/video/text2video",
    "v6/video/img2video",
    "v7/video-fusion/text-to-video",
    "v7/video-fusion/image-to-video",
)
DRAWING = {"text2img": profiles.TEXT_TO_IMAGE, "img2img": profiles.IMAGE_TO_IMAGE, "inpaint": profiles.INPAINT}
EDITING = {
    "outpaint": profiles.OUTPAINT,
    "outpainting": profiles.OUTPAINT,
    "super_resolution": profiles.UPSCALE,
    "removebg_mask": profiles.REMOVE_BACKGROUND,
    "removebg": profiles.REMOVE_BACKGROUND,
    "mask_creator": profiles.CREATE_MASK,
    "create_mask": profiles.CREATE_MASK,
    "inpaint": profiles.EDIT_INPAINT,
    "object_removal": profiles.OBJECT_REMOVAL,
}
# Folder of generation routes -> what it holds. Results are fetched in the folder's own "fetch".
GENERATION: dict[str, dict[str, Profile]] = {
    "v3": DRAWING | {"super_resolution": profiles.UPSCALE_LEGACY, "nsfw_image_check": profiles.CHECK_SAFETY},
    "v3/dreambooth": {"": profiles.TEXT_TO_IMAGE, "img2img": profiles.IMAGE_TO_IMAGE, "inpaint": profiles.INPAINT},
    "v4/dreambooth": {"": profiles.TEXT_TO_IMAGE, "img2img": profiles.IMAGE_TO_IMAGE, "inpaint": profiles.INPAINT},
    "v5": {
        "controlnet": profiles.CONTROLNET,
        "super_resolution": profiles.UPSCALE_LEGACY,
        "removebg_mask": profiles.REMOVE_BACKGROUND,
    },
    "v6/images": DRAWING | {"controlnet": profiles.CONTROLNET},
    "v6/realtime": DRAWING,
    "v6/image_editing": EDITING,
    "v7/images": {
        "text-to-image": profiles.TEXT_TO_IMAGE,
        "image-to-image": profiles.IMAGE_TO_IMAGE,
        "inpaint": profiles.INPAINT,
        "controlnet": profiles.CONTROLNET,
        "upscale": profiles.UPSCALE,
    },
    "v1/enterprise": DRAWING
    | {
        "controlnet": profiles.CONTROLNET,
        "super_resolution": profiles.UPSCALE_LEGACY,
        "dreambooth": profiles.TEXT_TO_IMAGE,
    },
    "v1/enterprise/images": DRAWING | {"controlnet": profiles.CONTROLNET, "super_resolution": profiles.UPSCALE_LEGACY},
    "v1/enterprise/realtime": DRAWING,
    "v1/enterprise/image_editing": EDITING,
}
# The one folder whose documentation sends its fetch elsewhere.
FETCH_ELSEWHERE = {"v5": "v3/fetch"}


def generation_routes() -> Iterator[Route]:
    for folder, kinds in GENERATION.items():
        version = folder[:2]
        fetch = FETCH_ELSEWHERE.get(folder, f"{folder}/fetch")
        for name, profile in kinds.items():
            path = f"{folder}/{name}" if name else folder
            yield Route(path=path, version=version, handler=generation.generate, profile=profile, fetch=fetch)
        for path in (f"{folder}/fetch", f"{folder}/fetch/{{id}}"):
            yield Route(path=path, version=version, handler=jobs.fetch, methods=BOTH, fetch=fetch)


def editing_absent_routes() -> Iterator[Route]:
    for folder in ("v6/image_editing", "v1/enterprise/image_editing"):
        for name, (operation, needed) in ABSENT.items():
            about = {"operation": operation, "needed": needed}
            yield Route(path=f"{folder}/{name}", version=folder[:2], handler=absent.capability_missing, about=about)


def other_routes() -> Iterator[Route]:
    """Path, handler, methods: what is neither made nor fetched."""
    table = (
        ("v7/images/cancel", jobs.cancel, (POST,)),
        ("v7/images/cancel/{id}", jobs.cancel, (POST,)),
        ("v7/images", jobs.own_list, (GET,)),
        ("v7/models", models.search, BOTH),
        ("v7/models/{id}", models.one, (GET,)),
        ("v7/account", account.account, BOTH),
        ("v7/account/usage", usage.usage, BOTH),
        ("v7/keys", keys.key_list, (GET,)),
        ("v7/keys", keys.key_new, (POST,)),
        ("v7/keys/{id}", keys.key_edit, (POST,)),
        ("v7/keys/revoke/{id}", keys.key_end, (POST,)),
        ("v6/model-search", models.search, BOTH),
        ("v6/model-search/filters", models.filters, BOTH),
        ("v6/model-search/tags", models.tags, BOTH),
        ("v6/model-search/providers", models.providers, BOTH),
        ("v6/model-search/{id}", models.one, BOTH),
        ("v6/processing/request_count", jobs.request_count, BOTH),
        ("v6/base64_to_url", pictures.base64_to_url, (POST,)),
        ("v6/image_editing/base64_to_url", pictures.base64_to_url, (POST,)),
        ("v1/enterprise/upload_image", pictures.base64_to_url, (POST,)),
        ("v3/base64_crop", pictures.base64_crop, (POST,)),
        ("v3/delete_image", pictures.delete_image, (POST,)),
        ("v7/images/delete/{id}", pictures.delete_image, (POST,)),
        ("v3/clear_cache", pictures.clear_cache, BOTH),
        ("v5/clear_cache", pictures.clear_cache, BOTH),
        ("v3/system_load", jobs.system_load, BOTH),
        ("v3/dreambooth/model_list", models.legacy_list, BOTH),
        ("v4/dreambooth/model_list", models.legacy_list, BOTH),
        ("v4/dreambooth/model_reload", models.check, (POST,)),
        ("v6/images/model_reload", models.check, (POST,)),
        ("v1/enterprise/get_all_models", models.enterprise_list, BOTH),
        ("v1/enterprise/system_details", models.system_details, BOTH),
        ("v1/enterprise/verify_model", models.check, (POST,)),
        ("v1/enterprise/clear_cache", pictures.clear_cache, BOTH),
        ("wallet_balance", account.wallet_balance, BOTH),
        ("subscribed_products", account.subscribed_products, BOTH),
        ("assets_generated", jobs.own_list, BOTH),
    )
    for path, handler, methods in table:
        yield Route(path=path, version=path[:2], handler=handler, methods=methods)
    for version in ("v3", "v4", "v5", "v6", "v7", "v1/enterprise"):
        yield Route(path=f"{version}/wallet_balance", version=version[:2], handler=account.wallet_balance, methods=BOTH)
        yield Route(path=f"{version}/schedulers_list", version=version[:2], handler=models.schedulers, methods=BOTH)
    for folder in ("v1/enterprise/images", "v1/enterprise/realtime", "v1/enterprise/image_editing"):
        yield Route(path=f"{folder}/system_details", version="v1", handler=models.system_details, methods=BOTH)
        yield Route(path=f"{folder}/clear_cache", version="v1", handler=pictures.clear_cache, methods=BOTH)


def absent_routes() -> Iterator[Route]:
    training = (
        "v3/load_model",
        "v3/finetune_list",
        "v3/lora_fine_tune",
        "v3/fine_tune",
        "v3/fine_tune_status/{id}",
        "v3/cancel_training/{id}",
        "v3/finetune/delete/{id}",
        "v1/enterprise/load_model",
        "v1/enterprise/delete_model",
    )
    control = [
        f"v1/enterprise/{folder}{name}"
        for folder in ("", "images/", "realtime/", "image_editing/")
        for name in ("restart_server", "update", "clear_queue")
    ]
    for paths, about in (
        (training, NO_TRAINING),
        (control, NO_SERVER_CONTROL),
        (("v5/outpaint",), NO_ANIMATION),
        (VIDEO, NO_VIDEO),
        (("v5/interior",), NO_INTERIOR),
        (("check_nsfw_cp",), NO_PROMPT_CHECK),
    ):
        for path in paths:
            yield Route(path=path, version=path[:2], handler=absent.not_offered, methods=BOTH, about=about)
    for name, (operation, needed) in ABSENT_V5.items():
        about = {"operation": operation, "needed": needed}
        yield Route(path=f"v5/{name}", version="v5", handler=absent.capability_missing, about=about)
    qwen = {"operation": "Qwen models", "needed": "a render engine for Qwen models, which this version has not"}
    yield Route(path="v1/enterprise/qwen/text2img", version="v1", handler=absent.capability_missing, about=qwen)
    yield from editing_absent_routes()


ROUTES: tuple[Route, ...] = (*generation_routes(), *other_routes(), *absent_routes())
urlpatterns = [re_path(r"^api/(?P<path>[\s\S]*)\Z", api_view(Table(ROUTES)), name="api")]
