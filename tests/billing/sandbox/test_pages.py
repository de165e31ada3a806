"""The pages that a newcomer clicks through, and the running of the sandbox as a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from billing.sandbox import SandboxStripe
from billing.sandbox.payment_methods import BEHAVIOURS
from tests.billing.sandbox.conftest import START
from tests.billing.sandbox.flows import CANCEL_URL, Shop, real_client
from tests.billing.sandbox.test_subscriptions import portal


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def browse(url: str, **form: str) -> tuple[int, str, str]:
    """Status, text and Location of a page; with a form it is submitted."""
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        with urllib.request.build_opener(_Stay).open(url, data, timeout=5) as answer:
            return answer.status, answer.read().decode(), ""
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode(), answer.headers.get("Location", "")


def test_the_pay_page_names_every_way_to_pay_and_how_to_leave(shop: Shop):
    session = shop.topup(shop.customer(), 2500)
    status, text, _ = browse(session.url)
    assert status == 200
    assert "<h1>Pay</h1>" in text
    assert "Pay $25.00" in text
    assert CANCEL_URL in text
    assert all(behaviour.label in text for behaviour in BEHAVIOURS.values())
    assert re.findall(r'<html lang="(\w+)">', text) == ["en"]
    assert text.count("<legend>") == text.count("<fieldset>") == 1


def test_paying_leads_back_to_the_shop_with_the_sessions_id(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer())
    status, _, location = browse(session.url, method="card")
    assert (status, location) == (303, f"http://shop.test/done?session={session.id}")
    assert shop.session(session.id).payment_status == "paid"
    assert "has been made already" in browse(session.url)[1]


def test_a_decline_is_told_and_the_choice_is_kept(shop: Shop):
    session = shop.topup(shop.customer())
    status, text, _ = browse(session.url, method="insufficient_funds")
    assert status == 402
    assert '<p class="error" role="alert">Your card has insufficient funds.</p>' in text
    assert 'value="insufficient_funds" checked' in text


def test_authentication_can_be_completed_or_failed(shop: Shop):
    session = shop.topup(shop.customer())
    assert "Confirm it is you" in browse(session.url, method="authenticate")[1]
    status, text, _ = browse(session.url, method="authenticate", authenticated="no")
    assert (status, "The authentication failed." in text) == (402, True)
    assert browse(session.url, method="authenticate", authenticated="yes")[0] == 303


def test_a_promotion_code_is_asked_for_only_when_allowed(shop: Shop):
    customer = shop.customer()
    assert "Promotion code" not in browse(shop.topup(customer).url)[1]
    session = shop.topup(customer, allow_promotion_codes=True)
    status, text, _ = browse(session.url, method="card", code="NOPE")
    assert (status, "This promotion code is invalid." in text) == (402, True)


def test_what_people_typed_is_never_html(shop: Shop):
    line = {
        "quantity": 1,
        "price_data": {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "<script>alert(1)</script>"}},
    }
    text = browse(shop.topup(shop.customer(), line_items=[line]).url)[1]
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_an_unknown_session_is_a_404(stripe: SandboxStripe):
    assert browse(f"{stripe.base_url}/c/pay/cs_test_nobody")[0] == 404
    assert browse(f"{stripe.base_url}/p/session/bps_nobody")[0] == 404
    assert browse(f"{stripe.base_url}/invoices/in_nobody")[0] == 404
    assert browse(f"{stripe.base_url}/receipts/ch_nobody")[0] == 404
    assert browse(f"{stripe.base_url}/nowhere")[0] == 404
    assert "stands in for Stripe" in browse(stripe.base_url + "/")[1]


def test_the_portal_page_cancels_keeps_and_switches(stripe: SandboxStripe, shop: Shop):
    customer, standard, premium = shop.customer(), shop.price(4700), shop.price(19_900, "Premium")
    subscription = shop.subscribed(customer, standard)
    url = f"{stripe.base_url}/p/session/{portal(shop, customer, [standard, premium])}"
    text = browse(url)[1]
    assert "Standard, $47.00 a month" in text
    assert "Active, renews on February 1, 2026" in text
    assert "Return to the shop" in text
    assert browse(url, act="cancel", subscription=subscription)[0] == 303
    assert "Ends on February 1, 2026" in browse(url)[1]
    browse(url, act="renew", subscription=subscription)
    browse(url, act="switch", subscription=subscription, price=premium)
    browse(url, act="method", method="card_declined")
    text = browse(url)[1]
    assert "Premium, $199.00 a month" in text
    (invoice,) = set(re.findall(r'href="(http[^"]*/invoices/in_\w+)">\w+-0001<', text))
    assert "Standard" in browse(invoice)[1]


def test_a_portal_link_is_short_lived(stripe: SandboxStripe, shop: Shop):
    customer, standard = shop.customer(), shop.price()
    url = f"{stripe.base_url}/p/session/{portal(shop, customer, [standard])}"
    assert browse(url)[0] == 200
    stripe.advance(seconds=3601)
    assert browse(url)[0] == 404


def test_a_receipt_shows_what_was_paid_and_refunded(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer())
    stripe.pay(session=session.id)
    (charge,) = shop.v1.charges.list({}).data
    shop.v1.refunds.create({"charge": charge.id, "amount": 250})
    text = browse(charge.receipt_url)[1]
    assert "$10.00" in text
    assert "$2.50" in text


# As a process of its own


def control(url: str, name: str, key: str = "sk_test_sandbox", **arguments: Any) -> Any:
    request = urllib.request.Request(
        f"{url}/_sandbox/{name}", json.dumps(arguments).encode(), {"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["result"]


def test_another_process_can_do_all_that_a_test_can(stripe: SandboxStripe, shop: Shop):
    url, session = stripe.base_url, shop.topup(shop.customer()).id
    assert control(url, "pay", session=session) == "complete"
    control(url, "disturb", duplicates=1)
    assert stripe.webhooks.disturbance.duplicates == 1
    control(url, "trouble", kind="error", path="/v1/nothing")
    control(url, "chance", rate=0.0, kinds=["error"])
    control(url, "clear")
    assert control(url, "advance", days=1) == START + 86_400
    assert control(url, "faults") == []
    assert control(url, "events")[-1]["type"] == "checkout.session.completed"
    assert control(url, "requests")[-1]["path"] == "/v1/checkout/sessions"
    assert control(url, "deliver")[0]["status"] == 0


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("pay", {"session": "cs_nobody"}, 400),
        ("pay", {"sesion": "x"}, 400),
        ("nonsense", {}, 400),
        ("rules_set", {"nonsense": 1}, 400),
    ],
)
def test_wrong_control_requests_are_refused(stripe: SandboxStripe, name: str, arguments: dict, status: int):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(stripe.base_url, name, **arguments)
    with refused.value:
        assert refused.value.code == status


def test_control_needs_the_key(stripe: SandboxStripe):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(stripe.base_url, "advance", key="guess", days=400)
    with refused.value:
        assert refused.value.code == 401


def test_everything_survives_a_restart(start: Callable[..., SandboxStripe], tmp_path: Path):
    state = tmp_path / "stripe.json"
    first = start(state_file=state)
    shop = Shop(first, real_client(first))
    customer = shop.customer()
    paid, waiting = shop.topup(customer, key="topup-1"), shop.topup(customer, key="topup-2")
    first.pay(session=paid.id)
    first.advance(days=1)
    first.stop()
    second = start(state_file=state)
    again = Shop(second, real_client(second))
    assert again.session(paid.id).payment_status == "paid"
    assert second.world.now() == START + 86_400
    assert again.session(waiting.id).status == "expired"
    assert again.customer() != customer
    assert second.faults == []


def test_a_killed_sandbox_forgets_no_more_than_its_last_second(start: Callable[..., SandboxStripe], tmp_path: Path):
    state = tmp_path / "stripe.json"
    first = start(state_file=state)
    shop = Shop(first, real_client(first))
    session = shop.topup(shop.customer())
    browse(session.url, method="card")
    deadline = time.monotonic() + 5
    while not (state.exists() and '"payment_status": "paid"' in state.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = start(state_file=state)  # the first one was never stopped
    assert real_client(second).v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_what_stripe_would_not_answer_any_more_is_not_kept(start: Callable[..., SandboxStripe], tmp_path: Path):
    state = tmp_path / "stripe.json"
    first = start(state_file=state)
    shop = Shop(first, real_client(first))
    customer = shop.customer()
    shop.topup(customer, key="topup-1")
    first.advance(days=31)
    shop.v1.customers.update(customer, {"name": "Alice"}, {"idempotency_key": "update-1"})
    first.stop()
    kept = json.loads(state.read_text())
    assert [event["type"] for event in kept["objects"]["event"].values()] == [
        "checkout.session.expired",
        "customer.updated",
    ]
    assert list(kept["saved_answers"]) == ["update-1"]


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "billing.sandbox",
        "--port",
        "0",
        "--state",
        str(tmp_path / "state.json"),
        "--secret",
        "whsec_a",
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            assert control(url, "faults") == []
            assert "stands in for Stripe" in browse(url)[1]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert json.loads((tmp_path / "state.json").read_text())["clock_offset_s"] == 0
