"""From a request's fields to a complete order: everything that can be wrong with it is told at once.

An order is right in itself; whether it may be served is for admission to say (gateway.services.place).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings

from gateway.api.adapters import ControlAsked, IPAdapterAsked, adapters_read, control_read, ip_adapter_read
from gateway.api.asked import asked_of
from gateway.api.authentication import Caller
from gateway.api.catalogue import model_for
from gateway.api.editing import editing_read, output_size_check, result_size
from gateway.api.fields import Fields
from gateway.api.inputs import DRAWN_SIDE_PX_MAX, Source, StoredInput, inputs_store, sources_read
from gateway.api.limits import foresee_refusal
from gateway.api.parsing import Call
from gateway.api.profiles import INIT, MASK, Profile
from gateway.api.replies import reply_options
from gateway.api.sampling import sampling_read
from gateway.api.sizes import Size, size_decide, size_read
from gateway.api.texts import prompt_read, track_id_read, webhook_read
from inference.engine.spec import ModelRef, Operation, RenderSpec
from inference.selectors import CatalogueModel
from inference.storage import output_key, preview_key

MODEL_ID_CHARS_MAX = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOrder:
    """One request, typed and complete.

    `asked` is the request as it came, without its key and its pictures. `reply` says how to answer, now and in every
    later fetch (see replies.reply_options). `body_digest` is "" when the call has no idempotency key.
    """

    endpoint: str
    api_version: str
    model: CatalogueModel
    spec: RenderSpec
    reply: dict[str, Any]
    instant_response: bool
    webhook_url: str | None
    track_id: str | int | float | None
    asked: dict[str, Any]
    body_digest: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What the call brings along, before anything is fetched."""

    init: list[Source]
    mask: list[Source]
    control: ControlAsked | None
    ip_adapter: IPAdapterAsked | None

    def __bool__(self) -> bool:
        hint = self.control.hint if self.control else None
        return bool(self.init or self.mask or hint or self.ip_adapter)


def order_build(
    call: Call, *, endpoint: str, version: str, profile: Profile, caller: Caller, body_digest: str
) -> GenerationOrder:
    """Raises InvalidRequest with every fault, or what the catalogue says of models and adapters."""
    fields = Fields(call.fields)
    profile = _with_control(fields, profile)
    model = model_for(profile.operation, fields.text("model_id", chars_max=MODEL_ID_CHARS_MAX) or None)
    arguments, pictures, asked_size = _read(fields, profile, model, version)
    options = reply_options(fields, profile, call)
    instant_response = fields.flag("instant_response", default=False)
    watched = fields.flag("previews", default=False)
    webhook_url, track_id = webhook_read(fields), track_id_read(fields)
    fields.check()
    if pictures:
        foresee_refusal(caller, now=call.now)
    arguments, picture_size = _store_pictures(fields, arguments, pictures, profile, call)
    output_size_check(fields, arguments, picture_size)
    fields.check()
    size = result_size(arguments, size_decide(asked_size, profile, model, picture_size))
    return GenerationOrder(
        endpoint=endpoint,
        api_version=version,
        model=model,
        spec=_spec(arguments, model, size, call, caller, temporary="temp" in options, watched=watched),
        reply=options | ({"adjusted": fields.adjusted} if fields.adjusted else {}),
        instant_response=instant_response,
        webhook_url=webhook_url,
        track_id=track_id,
        asked=asked_of(call),
        body_digest=body_digest,
        received_at=call.now,
    )


def _with_control(fields: Fields, profile: Profile) -> Profile:
    """A ControlNet on a text-to-image route: the pictures that come along decide what is drawn.

    The init image is first of all where hints are derived from. It is drawn from as well when a mask comes along, when
    the hint comes separately, or when the call says how strongly to depart from it.
    """
    if profile.operation is not Operation.TEXT_TO_IMAGE:
        return profile
    if not profile.control_needed and fields.value("controlnet_model", "controlnet_type") is None:
        return profile
    if fields.value(*INIT) is None:
        return profile
    if fields.value(*MASK) is not None:
        return replace(profile, operation=Operation.INPAINT, init=INIT, mask=MASK)
    if fields.value("control_image") is not None or fields.value("strength") is not None:
        return replace(profile, operation=Operation.IMAGE_TO_IMAGE, init=INIT)
    return replace(profile, init=INIT)


def _read(
    fields: Fields, profile: Profile, model: CatalogueModel, version: str
) -> tuple[dict[str, Any], Pictures, tuple[int | None, int | None]]:
    """Arguments of RenderSpec, the pictures to fetch, and the size that was asked for."""
    if not profile.draws:
        init = sources_read(fields, profile.init, most=1, required=True)
        nothing = Pictures(init=init, mask=[], control=None, ip_adapter=None)
        return editing_read(fields, profile), nothing, (None, None)
    control = control_read(fields, model, needed=profile.control_needed)
    prompt_needed = profile.prompt_needed and not (control is not None and control.guess_mode)
    arguments = prompt_read(fields, profile, model, needed=prompt_needed)
    arguments |= sampling_read(fields, profile, model, version=version)
    arguments |= adapters_read(fields, model)
    arguments |= editing_read(fields, profile)
    hint_given = control is not None and control.hint is not None
    if control is not None and not profile.init and not hint_given:
        fields.require("init_image")
    pictures = Pictures(
        init=sources_read(fields, profile.init, most=profile.init_images_max, required=bool(profile.init)),
        mask=sources_read(fields, profile.mask, most=1, required=bool(profile.mask)),
        control=control,
        ip_adapter=ip_adapter_read(fields, model),
    )
    return arguments, pictures, size_read(fields, profile, model)


def _store_pictures(
    fields: Fields, arguments: dict[str, Any], pictures: Pictures, profile: Profile, call: Call
) -> tuple[dict[str, Any], Size | None]:
    """Fetch, check and store what came along; the size of the first picture."""
    arguments = {**arguments, "operation": profile.operation}
    if not pictures:
        return arguments, None
    side_px_max = DRAWN_SIDE_PX_MAX if profile.draws else None

    def store(sources: list[Source]) -> list[StoredInput]:
        return inputs_store(fields, sources, base_url=call.base_url, side_px_max=side_px_max)

    init, mask = store(pictures.init), store(pictures.mask)
    arguments["init_images"] = tuple(picture.key for picture in init)
    if mask:
        arguments["mask_image"] = mask[0].key
    hint: list[StoredInput] = []
    if pictures.control:
        hint = store([pictures.control.hint]) if pictures.control.hint else []
        arguments["controls"] = pictures.control.refs(hint[0] if hint else None)
        arguments["guess_mode"] = pictures.control.guess_mode
    if pictures.ip_adapter:
        shown = store([pictures.ip_adapter.picture])
        arguments["ip_adapter"] = pictures.ip_adapter.ref(shown[0]) if shown else None
    first = [*init, *hint][:1]
    return arguments, first[0].size if first else None


def _spec(
    arguments: dict[str, Any],
    model: CatalogueModel,
    size: Size,
    call: Call,
    caller: Caller,
    *,
    temporary: bool,
    watched: bool,
) -> RenderSpec:
    token, now_epoch_s = secrets.token_hex(16), int(call.now.timestamp())
    expires_epoch_s = now_epoch_s + settings.TEMP_LINK_TTL_S if temporary else None
    samples = arguments.get("samples", 1)
    return RenderSpec(
        token=token,
        account=str(caller.account_id),
        model=ModelRef(
            model_id=model.model_id,
            family=model.family,
            source=model.source,
            revision=model.revision or None,
            variant=model.variant or None,
            prediction_type=model.prediction_type or None,
            trigger_words=model.trigger_words,
        ),
        width_px=size[0],
        height_px=size[1],
        output_keys=tuple(
            output_key(token=token, index=index, expires_epoch_s=expires_epoch_s) for index in range(samples)
        ),
        preview_key=preview_key(token=token, expires_epoch_s=now_epoch_s + settings.TEMP_LINK_TTL_S) if watched else "",
        parameters_in_pictures=caller.key.parameters_in_pictures,
        **arguments,
    )
