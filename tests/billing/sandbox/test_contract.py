"""The contract read from the installed SDK notices what real Stripe would refuse."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from billing.sandbox import contract

SESSION: dict[str, Any] = {
    "mode": "payment",
    "customer": "cus_1",
    "success_url": "https://shop.test/{CHECKOUT_SESSION_ID}",
    "line_items": [
        {"quantity": 1, "price_data": {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "Funds"}}}
    ],
    "payment_intent_data": {"metadata": {"topup": "1"}, "setup_future_usage": "off_session"},
    "expires_at": 1_800_000_000,
}
PRICE: dict[str, Any] = {
    "id": "price_1",
    "object": "price",
    "active": True,
    "billing_scheme": "per_unit",
    "created": 1,
    "currency": "usd",
    "livemode": False,
    "metadata": {},
    "product": "prod_1",
    "recurring": {
        "interval": "month",
        "interval_count": 1,
        "usage_type": "licensed",
        "meter": None,
        "trial_period_days": None,
    },
    "type": "recurring",
    "unit_amount": 4700,
    "unit_amount_decimal": "4700",
}


def request_faults(**changes: Any) -> list[str]:
    return contract.check_request("POST", "/v1/checkout/sessions", {**SESSION, **changes})


def test_a_valid_request_has_no_faults():
    assert request_faults() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"payment_method_types": ["card"]}, "payment_method_types: unknown field"),
        ({"payment_intent_data": {"metdata": {}}}, "payment_intent_data.metdata: unknown field"),
        (
            {"line_items": [{"price_data": {"unit_amount": 1, "product_data": {"name": "x"}}}]},
            "line_items[0].price_data.currency: missing",
        ),
        ({"automatic_tax": {}}, "automatic_tax.enabled: missing"),
        (
            {"ui_mode": "embedded"},
            "ui_mode: 'embedded' is not one of ['elements', 'embedded_page', 'form', 'hosted_page']",
        ),
        ({"mode": "pay"}, "mode: 'pay' is not one of ['payment', 'setup', 'subscription']"),
        ({"expires_at": "soon"}, "expires_at: expected int, got str 'soon'"),
        ({"line_items": {"price": "x"}}, "line_items: expected a list, got dict {'price': 'x'}"),
        ({"metadata": "x"}, "metadata: expected fields, got str 'x'"),
    ],
)
def test_each_kind_of_wrong_parameter_is_named(changes, fault):
    assert request_faults(**changes) == [fault]


def test_form_text_counts_as_the_numbers_and_booleans_that_it_spells():
    assert (
        contract.check_request(
            "GET", "/v1/events", {"limit": "3", "delivery_success": "false", "created": {"gte": "1"}}
        )
        == []
    )
    typed = contract.load().typed(
        "GET", "/v1/events", {"limit": "3", "delivery_success": "false", "created": {"gte": "1"}}
    )
    assert typed == {"limit": 3, "delivery_success": False, "created": {"gte": 1}}


def test_metadata_that_looks_like_a_number_stays_text():
    assert contract.load().typed("POST", "/v1/customers", {"metadata": {"account": "7"}}) == {
        "metadata": {"account": "7"}
    }


def test_the_billing_cycle_anchor_of_an_update_is_no_longer_a_word():
    path = "/v1/subscriptions/sub_1"
    assert contract.check_request("POST", path, {"billing_cycle_anchor": "now"}) == [
        "billing_cycle_anchor: expected fields, got str 'now'"
    ]
    assert contract.check_request("POST", path, {"billing_cycle_anchor": {"type": "now"}}) == []


def test_an_operation_that_was_removed_is_noticed():
    assert contract.check_request("POST", "/v1/subscription_items/si_1/usage_records", {}) == [
        "POST /v1/subscription_items/si_1/usage_records: no such operation"
    ]


def test_a_literal_path_wins_over_a_placeholder():
    operation = contract.load().find_operation("GET", "/v1/subscriptions/search")
    assert operation is not None
    assert operation.path == "/v1/subscriptions/search"


def test_a_valid_object_has_no_faults():
    assert contract.check_object(PRICE) == []
    assert contract.check_object({"object": "list", "data": [PRICE], "has_more": False, "url": "/v1/prices"}) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"aggregate_usage": None}, "price.aggregate_usage: unknown field"),
        (
            {"recurring": {**PRICE["recurring"], "interval": "fortnight"}},
            "price.recurring.interval: 'fortnight' is not one of ['day', 'month', 'week', 'year']",
        ),
        ({"unit_amount": "4700"}, "price.unit_amount: expected int, got str '4700'"),
        ({"currency": None}, "price.currency: expected str, got NoneType None"),
        ({"product": {"object": "product", "id": "prod_1", "deleted": True}}, None),
        (
            {"product": {"object": "product", "id": "prod_1", "deleted": True, "name": "x"}},
            "price.product.name: not part of a deleted object",
        ),
    ],
)
def test_each_kind_of_wrong_field_is_named(changes, fault):
    assert contract.check_object({**PRICE, **changes}) == ([fault] if fault else [])


def test_a_field_that_stripe_always_sends_may_not_be_missing():
    without = {name: value for name, value in PRICE.items() if name != "livemode"}
    assert contract.check_object(without) == ["price.livemode: missing"]


def test_fields_that_moved_in_basil_are_faults_at_their_old_place():
    faults = contract.check_object({"object": "invoice", "subscription": "sub_1", "payment_intent": "pi_1"})
    assert {"invoice.subscription: unknown field", "invoice.payment_intent: unknown field"} <= set(faults)


def test_an_object_of_an_unknown_kind_is_a_fault():
    assert contract.check_object({"object": "usage_record"}) == ["usage_record: no object is called 'usage_record'"]


def test_the_derivation_finds_about_as_much_as_the_sdk_holds():
    """Counted by hand in stripe-python 16.1.0: 647 operations, 5,415 parameter types with 16,444 fields."""
    derived = contract.load()
    assert (derived.version, derived.api_version) == ("16.1.0", "2026-10-28.endive")
    assert 640 <= len(derived.operations) <= 660
    assert 5_400 <= len(derived.params) <= 5_430
    assert 16_400 <= sum(map(len, derived.params.values())) <= 16_500
    assert 3_500 <= len(derived.responses) <= 3_900
    assert all(operation.params_key in derived.params for operation in derived.operations)


def test_a_cache_file_is_used_and_a_broken_one_is_not(tmp_path: Path):
    (tmp_path / f"16.1.0-{contract.CACHE_FORMAT}.json").write_text("{")
    assert contract.load.__wrapped__(tmp_path).version == "16.1.0"
    (cached,) = tmp_path.iterdir()
    cached.write_text(json.dumps({**json.loads(cached.read_text()), "version": "from the cache"}))
    assert contract.load.__wrapped__(tmp_path).version == "from the cache"


def test_the_sandbox_imports_neither_stripe_nor_django():
    program = "import sys, billing.sandbox; sys.exit(bool({'stripe', 'django'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
