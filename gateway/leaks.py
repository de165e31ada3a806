"""Reports of leaked keys, as code hosts send them: verified, revoked at once, and told to the account by mail.

The protocol is GitHub's for partners of its secret scanning: a JSON list of findings, signed with ECDSA over P-256.
Every key begins with API_KEY_PREFIX and ends with a checksum, so that a scanner's pattern has no false positives.
"""

from __future__ import annotations

import base64
import binascii
import logging
from datetime import datetime
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts import keys
from accounts.models import ApiKey, Membership, Role
from accounts.services import key_revoke
from gateway.errors import AddressRefused, FetchFailed
from gateway.http import http_fetch
from gateway.notices import key_leaked_mail

logger = logging.getLogger(__name__)

BODY_BYTES_MAX = 1024 * 1024
FINDINGS_MAX = 1000
KEYS_BYTES_MAX = 256 * 1024
KEYS_TTL_S = 3600
TIMEOUT_S = 10.0


class Unverified(Exception):
    """Why the report is not believed."""


@csrf_exempt
def leaked_keys(request: HttpRequest) -> HttpResponse:
    """Answers for each finding whether it was a key of ours, as the protocol asks."""
    if not settings.LEAK_REPORT_KEYS_URL:
        raise Http404
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if int(request.headers.get("Content-Length") or 0) > BODY_BYTES_MAX:
        return HttpResponse(status=413)
    body = request.body
    try:
        _verify(
            body,
            key_id=request.headers.get("Github-Public-Key-Identifier", ""),
            signature=request.headers.get("Github-Public-Key-Signature", ""),
        )
        findings = _findings(body)
    except Unverified as problem:
        logger.warning("A report of leaked keys was not believed: %s", problem)
        return JsonResponse({"status": "error", "message": str(problem)}, status=400)
    now = timezone.now()
    answers = [
        {
            "token_raw": finding["token"],
            "token_type": finding.get("type", ""),
            "label": "true_positive" if _revoked(finding, now) else "false_positive",
        }
        for finding in findings
    ]
    return JsonResponse(answers, safe=False)


def _revoked(finding: dict[str, Any], now: datetime) -> bool:
    """Whether the text was a key of ours, whole and right; then it is revoked and its account told."""
    text = finding["token"]
    parsed = keys.parse(text)
    api_key = parsed and ApiKey.objects.filter(lookup=parsed.lookup).select_related("account").first()
    if not api_key or not keys.verify(text, api_key.digest, pepper=settings.API_KEY_PEPPER):
        return False
    if key_revoke(api_key=api_key, now=now, action="a leak was reported, which revoked the key"):
        told = Membership.objects.filter(account=api_key.account, role__in=[Role.OWNER, Role.DEVELOPER])
        for member in told.select_related("user"):
            key_leaked_mail(api_key=api_key, user=member.user, found_at=str(finding.get("url") or ""))
    return True


def _findings(body: bytes) -> list[dict[str, Any]]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unverified("The body is no JSON.") from None
    if not isinstance(found, list) or len(found) > FINDINGS_MAX:
        raise Unverified(f"The body must be a list of at most {FINDINGS_MAX} findings.")
    if not all(isinstance(one, dict) and isinstance(one.get("token"), str) for one in found):
        raise Unverified("Every finding needs a token.")
    return found


def _verify(body: bytes, *, key_id: str, signature: str) -> None:
    pem = _public_keys().get(key_id)
    if pem is None:
        raise Unverified("The report is signed with an unknown key.")
    try:
        public_key = load_pem_public_key(pem.encode())
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise Unverified("The signing key is of another kind.")
        public_key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, binascii.Error, ValueError):
        raise Unverified("The signature does not fit the body.") from None


def _public_keys() -> dict[str, str]:
    """The host's signing keys by their identifiers, fetched at most once an hour."""
    known: dict[str, str] | None = cache.get("leaks:public-keys")
    if known is not None:
        return known
    try:
        fetched = http_fetch(settings.LEAK_REPORT_KEYS_URL, max_bytes=KEYS_BYTES_MAX, timeout_s=TIMEOUT_S)
        listed = orjson.loads(fetched.body)["public_keys"]
        found = {str(one["key_identifier"]): str(one["key"]) for one in listed}
    except (AddressRefused, FetchFailed, orjson.JSONDecodeError, KeyError, TypeError) as problem:
        logger.warning("The signing keys of leak reports could not be fetched: %s", problem)
        raise Unverified("The signing keys cannot be fetched at the moment: send it again.") from None
    cache.set("leaks:public-keys", found, KEYS_TTL_S)
    return found
