"""The fields of each object that the stand-in never fills, as Stripe writes them when empty.

The contract inside the SDK says which may be null; contract.py checks every object, so a name that rots is noticed.
"""

import copy
from typing import Any, TypeAlias

Fields: TypeAlias = dict[str, Any]


def _nulls(names: str) -> Fields:
    return dict.fromkeys(names.split())


BLANKS: dict[str, Fields] = {
    "customer": {
        **_nulls("address currency default_source description discount email name phone shipping test_clock"),
        "balance": 0,
        "delinquent": False,
        "invoice_settings": _nulls("custom_fields default_payment_method footer rendering_options"),
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
    },
    "product": {
        **_nulls("default_price description package_dimensions shippable statement_descriptor tax_code unit_label url"),
        "images": [],
        "marketing_features": [],
        "type": "service",
    },
    "price": {**_nulls("custom_unit_amount tiers_mode transform_quantity"), "billing_scheme": "per_unit"},
    "payment_method": {
        "allow_redisplay": "unspecified",
        "billing_details": _nulls("address email name phone tax_id"),
        "metadata": {},
    },
    "payment_intent": {
        **_nulls(
            "application application_fee_amount canceled_at cancellation_reason description last_payment_error "
            "latest_charge next_action on_behalf_of payment_method payment_method_configuration_details processing "
            "receipt_email review setup_future_usage shipping source statement_descriptor statement_descriptor_suffix "
            "transfer_data transfer_group"
        ),
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "payment_method_options": {},
        "payment_method_types": ["card", "us_bank_account"],
        "status": "requires_payment_method",
    },
    "setup_intent": {
        **_nulls(
            "application cancellation_reason description flow_directions last_setup_error latest_attempt mandate "
            "next_action on_behalf_of payment_method_configuration_details single_use_mandate"
        ),
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "payment_method_options": {},
        "payment_method_types": ["card", "us_bank_account"],
        "usage": "off_session",
    },
    "charge": {
        **_nulls(
            "application application_fee application_fee_amount balance_transaction failure_balance_transaction "
            "on_behalf_of receipt_number receipt_url review shipping source_transfer statement_descriptor "
            "statement_descriptor_suffix transfer_data transfer_group"
        ),
        "amount_captured": 0,
        "amount_refunded": 0,
        "calculated_statement_descriptor": "SANDBOX",
        "captured": False,
        "disputed": False,
        "fraud_details": {},
        "paid": False,
        "refunded": False,
    },
    "balance_transaction": {"balance_type": "payments", "exchange_rate": None, "status": "pending"},
    "refund": {
        **_nulls("balance_transaction receipt_number source_transfer_reversal transfer_reversal"),
        "destination_details": {"card": {"type": "pending"}, "type": "card"},
    },
    "dispute": {
        "balance_transactions": [],
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}, "uncategorized_text": None},
        "metadata": {},
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network": "visa"},
            "type": "card",
        },
        "reason": "fraudulent",
    },
    "invoice": {
        **_nulls(
            "account_tax_ids application automatically_finalizes_at custom_fields customer_shipping "
            "default_payment_method default_source description due_date effective_at ending_balance footer "
            "from_invoice hosted_invoice_url invoice_pdf last_finalization_error latest_revision "
            "next_payment_attempt number on_behalf_of receipt_number rendering shipping_cost shipping_details "
            "statement_descriptor webhooks_delivered_at"
        ),
        "account_country": "US",
        "account_name": "Sandbox",
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "collection_method": "charge_automatically",
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "payment_settings": _nulls("default_mandate payment_method_options payment_method_types"),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": "draft",
        "status_transitions": _nulls("finalized_at marked_uncollectible_at paid_at voided_at"),
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
    },
    "line_item": {
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "metadata": {},
        "pretax_credit_amounts": [],
        "taxes": [],
    },
    "invoice_payment": {
        "amount_paid": None,
        "is_default": True,
        "status": "open",
        "status_transitions": _nulls("canceled_at paid_at"),
    },
    "subscription": {
        **_nulls(
            "application application_fee_percent billing_cycle_anchor_config billing_thresholds cancel_at canceled_at "
            "days_until_due default_payment_method default_source description ended_at latest_invoice "
            "next_pending_invoice_item_invoice on_behalf_of pause_collection pending_invoice_item_interval "
            "pending_setup_intent pending_update schedule transfer_data trial_end trial_start"
        ),
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": _nulls("comment feedback reason"),
        "collection_method": "charge_automatically",
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "status": "incomplete",
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    },
    "subscription_item": {"billing_thresholds": None, "discounts": [], "metadata": {}, "tax_rates": []},
    "subscription_schedule": {
        **_nulls("application canceled_at completed_at released_at released_subscription test_clock"),
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "default_settings": {
            **_nulls(
                "application_fee_percent billing_thresholds collection_method default_payment_method description "
                "on_behalf_of transfer_data"
            ),
            "billing_cycle_anchor": "automatic",
            "invoice_settings": {"issuer": {"type": "self"}},
        },
        "end_behavior": "release",
        "metadata": {},
        "pause_schedules": [],
        "status": "active",
    },
    "checkout.session": {
        **_nulls(
            "after_expiration allow_promotion_codes billing_address_collection cancel_url client_reference_id "
            "client_secret collected_information consent consent_collection currency currency_conversion customer "
            "customer_creation customer_details customer_email invoice invoice_creation locale payment_intent "
            "payment_link payment_method_configuration_details permissions recovered_from saved_payment_method_options "
            "setup_intent shipping_address_collection shipping_cost submit_type subscription success_url"
        ),
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "custom_fields": [],
        "custom_text": _nulls("after_submit shipping_address submit terms_of_service_acceptance"),
        "discounts": [],
        "payment_method_collection": "always",
        "payment_method_options": {},
        "payment_method_types": ["card", "us_bank_account"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "ui_mode": "hosted_page",
    },
    "item": {"amount_discount": 0, "amount_tax": 0, "adjustable_quantity": None, "metadata": {}},
    "coupon": {
        **_nulls("duration_in_months max_redemptions redeem_by"),
        "duration": "once",
        "times_redeemed": 0,
        "valid": True,
    },
    "promotion_code": {
        **_nulls("customer expires_at max_redemptions"),
        "active": True,
        "restrictions": {
            "first_time_transaction": False,
            "minimum_amount": None,
            "minimum_amount_currency": None,
        },
        "times_redeemed": 0,
    },
    "billing_portal.session": {"flow": None, "locale": None, "on_behalf_of": None},
    "billing_portal.configuration": {
        "active": True,
        "application": None,
        "login_page": {"enabled": False, "url": None},
    },
    "test_helpers.test_clock": {"status": "ready", "status_details": {}},
    "billing.meter": {"status": "active", "status_transitions": {"deactivated_at": None}},
    "billing.meter_event": {},
    "billing.meter_event_adjustment": {},
    "billing.meter_event_summary": {},
}

WITHOUT_LIVEMODE = {"balance_transaction", "refund", "subscription_item", "item"}


def blank(kind: str, *, livemode: bool, **fields: Any) -> Fields:
    """A new object of a kind: its empty fields, under the given ones."""
    mode = {} if kind in WITHOUT_LIVEMODE else {"livemode": livemode}
    return {"object": kind, **mode, **copy.deepcopy(BLANKS[kind]), **fields}
