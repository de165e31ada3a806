"""Pictures without a render: base64 to an address for a day, and deleting one's own results."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

from django.conf import settings
from PIL import Image, ImageOps

from gateway.api.authentication import SCOPE_GENERATE
from gateway.api.fields import Fields
from gateway.api.inputs import MEDIA_PATH, Unusable, picture_open, picture_png, source_bytes
from gateway.api.limits import foresee_refusal
from gateway.api.parsing import Call
from gateway.api.replies import absolute
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.api.views.jobs import ID_NAMES, id_of
from gateway.errors import RateLimited
from gateway.ids import generation_id_new
from gateway.limits import limit_scopes, limiter
from gateway.ratelimit import Uncounted
from gateway.services.deleting import call_remove
from inference.erasing import pictures_erase
from inference.errors import GenerationNotFound
from inference.models import Generation
from inference.selectors import generation_of
from inference.storage import get_storage, output_key

# As the API documents base64_to_url.
UPLOAD_BYTES_MAX = 5 * 1024 * 1024
CROP_SIDE_PX = 512
UNCOUNTED_RETRY_S = 5
UPLOAD_NAMES = ("base64_string", "init_image", "image", "base64")
# A result's address has no index: the search for its call ends here.
RECENT_CALLS_MAX = 20_000


def base64_to_url(call: Call, route: Route, _id: str) -> Reply:
    url, upload_id = _kept(call, crop=False)
    return Reply({"status": "success", "id": upload_id, "output": [url], "link": url, "request_id": call.request_id})


def base64_crop(call: Call, route: Route, _id: str) -> Reply:
    """v3: the address under `link`; with crop=true the middle square, 512 pixels wide."""
    fields = Fields(call.fields)
    crop = fields.flag("crop", default=False)
    fields.check()
    url, upload_id = _kept(call, crop=crop)
    message = "Your picture has been stored."
    return Reply(
        {"status": "success", "message": message, "messege": message, "link": url, "request_id": str(upload_id)}
    )


def _kept(call: Call, *, crop: bool) -> tuple[str, int]:
    caller = authenticate(call, SCOPE_GENERATE)
    now_ms = int(call.now.timestamp() * 1000)
    foresee_refusal(caller, now=call.now)
    picture = _uploaded(call)
    if crop:
        picture = ImageOps.fit(picture, (CROP_SIDE_PX, CROP_SIDE_PX), Image.Resampling.LANCZOS)
    upload_id = generation_id_new(call.now)
    # It costs no quota; the calls of a minute are what keeps it from filling the disk.
    decision = limiter().admit(
        scope=limit_scopes(account_id=caller.account_id, key_id=caller.key_id)[0],
        token=str(upload_id),
        now_ms=now_ms,
        per_minute=caller.terms.calls_per_minute,
        queued=None,
        lease_s=0,
    )
    if isinstance(decision, Uncounted):
        if decision.counting_ms is None:  # an upload leaves no row by which the database could count it
            raise RateLimited(limit=caller.terms.calls_per_minute, retry_after_s=UNCOUNTED_RETRY_S)
    elif not decision.allowed:
        raise RateLimited(limit=decision.limit, retry_after_s=decision.retry_after_s, decision=decision)
    expires_epoch_s = int(call.now.timestamp()) + settings.TEMP_LINK_TTL_S
    key = output_key(token=uuid.uuid4().hex, index=0, expires_epoch_s=expires_epoch_s)
    storage = get_storage()
    storage.write(key, picture_png(picture), "image/png")
    return absolute(storage.url(key), call.base_url), upload_id


def _uploaded(call: Call) -> Image.Image:
    fields = Fields(call.fields)
    value = fields.value(*UPLOAD_NAMES)
    name = next((name for name in UPLOAD_NAMES if fields.value(name) is not None), UPLOAD_NAMES[0])
    if not isinstance(value, str | bytes):
        fields.require(name) if value is None else fields.fault(name, "invalid", "must be base64", value)
        raise fields.refusal()
    try:
        data = source_bytes(value, base_url=call.base_url, timeout_s=settings.WAIT_TIMEOUT_S)
        if len(data) > UPLOAD_BYTES_MAX:
            raise Unusable(f"has {len(data)} bytes; at most {UPLOAD_BYTES_MAX} are accepted")
        return picture_open(data)
    except Unusable as problem:
        fields.fault(name, "unusable_image", str(problem), limit=UPLOAD_BYTES_MAX)
        raise fields.refusal() from None


def delete_image(call: Call, route: Route, given_id: str) -> Reply:
    """All pictures of one's own call, named by its id or by the address of one of them."""
    caller = authenticate(call, SCOPE_GENERATE)
    fields = Fields(call.fields)
    address = fields.value("image", "url", "image_url", "output")
    if given_id or fields.value(*ID_NAMES) is not None or not isinstance(address, str):
        generation = generation_of(account_id=caller.account_id, generation_id=id_of(call, given_id))
    else:
        generation = _by_address(caller.account_id, address)
    pictures_erase(generation)
    # Deleted on the site before, so that it could be brought back: no more.
    call_remove(account_id=caller.account_id, generation_id=generation.pk, now=call.now)
    message = "The pictures of this generation were deleted."
    return Reply({"status": "success", "id": generation.pk, "message": message, "messege": message})


def _by_address(account_id: int, address: str) -> Generation:
    """Among the newest calls of the account. Raises GenerationNotFound."""
    name = urlsplit(address).path.removeprefix(MEDIA_PATH).rpartition("/")[2]
    token = name.rpartition("-")[0].rpartition("-")[2]
    recent = Generation.objects.filter(account_id=account_id).order_by("-pk").values("pk")[:RECENT_CALLS_MAX]
    generation = Generation.objects.filter(pk__in=recent, token=token).first() if token else None
    if generation is None:
        raise GenerationNotFound(generation_id=address[:80])
    return generation


def clear_cache(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_GENERATE)
    message = "Nothing of this account is cached; there was nothing to clear."
    return Reply({"status": "success", "message": message, "messege": message})
