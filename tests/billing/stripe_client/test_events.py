"""Which events are believed."""

from typing import Any

import pytest
from django.utils import timezone

from billing import stripe_client
from billing.errors import PaymentsNotConfigured
from billing.sandbox import SandboxStripe
from billing.sandbox.delivery import sign
from billing.stripe_client import WebhookRejected


def now_s() -> int:
    return int(timezone.now().timestamp())


def signed(
    sandbox: SandboxStripe, *, at: int | None = None, secrets: tuple[str, ...] = ("whsec_a",), **changes: Any
) -> tuple[bytes, str]:
    event = {**sandbox.events[0], **changes}
    return sandbox.webhooks.body_and_signature(event, timestamp=at or now_s(), secrets=secrets)


def believe(body: bytes, signature: str | None, *secrets: str, livemode: bool = False) -> dict[str, Any]:
    return stripe_client.webhook_construct(
        body=body, signature=signature, secrets=secrets or ("whsec_a",), livemode=livemode, now_s=now_s()
    )


@pytest.mark.usefixtures("customer")
def test_a_signed_event_is_believed_with_any_of_the_secrets(sandbox: SandboxStripe):
    body, signature = signed(sandbox)
    assert believe(body, signature)["type"] == "customer.created"
    assert believe(body, signature, "whsec_new", "whsec_a")["id"] == sandbox.events[0]["id"]
    both, rotating = signed(sandbox, secrets=("whsec_old", "whsec_a"))
    assert believe(both, rotating)["type"] == "customer.created"


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize("secrets", [(), ("",), ("  ", "")])
def test_without_a_secret_nothing_is_believed(sandbox: SandboxStripe, secrets: tuple[str, ...]):
    body, signature = signed(sandbox, secrets=("",))
    with pytest.raises(PaymentsNotConfigured):
        stripe_client.webhook_construct(body=body, signature=signature, secrets=secrets, livemode=False, now_s=now_s())


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        ({"secrets": ("whsec_b",)}, "signature"),
        ({"at": -360}, "timestamp"),
        ({"at": 86_400}, "timestamp"),
        ({"at": 360}, "timestamp"),
        ({"livemode": True}, "mode"),
        ({"livemode": None}, "mode"),
        ({"object": "v2.core.event"}, "kind"),
        ({"id": None}, "kind"),
    ],
)
def test_a_forged_event_is_rejected(sandbox: SandboxStripe, forgery: dict[str, Any], reason: str):
    if "at" in forgery:
        forgery = {**forgery, "at": now_s() + forgery["at"]}
    body, signature = signed(sandbox, **forgery)
    with pytest.raises(WebhookRejected) as rejected:
        believe(body, signature)
    assert rejected.value.reason == reason


@pytest.mark.usefixtures("customer")
def test_an_altered_body_is_rejected(sandbox: SandboxStripe):
    body, signature = signed(sandbox)
    with pytest.raises(WebhookRejected, match="signature"):
        believe(body.replace(b"alice", b"mallo"), signature)


@pytest.mark.parametrize("signature", [None, "", "t=1", "v1=abc", "t=soon,v1=abc", "nonsense"])
def test_a_missing_or_broken_signature_is_rejected(signature: str | None):
    with pytest.raises(WebhookRejected, match="signature"):
        believe(b"{}", signature)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(("body", "reason"), [(b"not json", "body"), (b"[]", "kind"), (b"\xff\xfe", "body")])
def test_a_signed_body_that_is_no_event_is_rejected(body: bytes, reason: str):
    with pytest.raises(WebhookRejected) as rejected:
        believe(body, sign(body.decode("utf-8", "replace"), ["whsec_a"], now_s()))
    assert rejected.value.reason == reason


@pytest.mark.usefixtures("customer")
def test_an_event_of_another_api_version_is_told_loudly(sandbox: SandboxStripe, caplog: pytest.LogCaptureFixture):
    body, signature = signed(sandbox, api_version="2024-06-20")
    assert believe(body, signature)["api_version"] == "2024-06-20"
    assert "is of API version 2024-06-20, expected 2026-10-28.endive" in caplog.text
