"""Keys over the API, for a key with the scope "admin": a customer's programs hand out keys with limits of their own.

The rules of a key's fields are the form's of the keys page. Such keys never have the scope "admin" themselves.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

from accounts.errors import ScopeDenied
from accounts.models import Account, ApiKey, Membership, Role
from accounts.selectors import keys_of
from accounts.services import key_change, key_create, key_revoke
from billing.money import usd_text
from gateway.api.authentication import SCOPE_ADMIN, Caller
from gateway.api.fields import Fields, as_list
from gateway.api.parsing import Call
from gateway.api.refusals import KeyNotFound
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.dashboard.forms import KeyChangeForm, KeyForm
from gateway.notices import key_made_mail, key_revoked_mail

KEYS_MAX = 1000
LISTED_MAX = 1000
DAYS_MAX = 3650
# The API's name of a field -> the form's.
NAMES = {
    "name": "name",
    "environment": "environment",
    "expires_in_days": "expires_in_days",
    "scopes": "scopes",
    "models": "model_ids",
    "networks": "networks",
    "origins": "origins",
    "calls_per_minute": "calls_per_minute",
    "calls_per_day": "calls_per_day",
    "queued_calls": "queued_calls",
    "budget_usd": "budget",
    "warn_usd": "warn",
}


CHANGEABLE = frozenset(NAMES) - {"environment", "expires_in_days"}


class NewForm(KeyForm):
    """Any number of days instead of the page's choice of three; no hidden fields."""

    expires_in_days = forms.IntegerField(min_value=1, max_value=DAYS_MAX, required=False)  # type: ignore[assignment]
    nonce = None  # type: ignore[assignment]


def key_list(call: Call, route: Route, _id: str) -> Reply:
    """All keys of the account, newest first, without their texts."""
    caller = _admin(call)
    found = keys_of(Account(pk=caller.account_id))[:LISTED_MAX]
    body = {"status": "success", "data": [_described(key) for key in found], "request_id": call.request_id}
    return Reply(body)


def key_new(call: Call, route: Route, _id: str) -> Reply:
    """The one reply that holds the new key's text."""
    caller = _admin(call)
    account = Account.objects.get(pk=caller.account_id)
    if ApiKey.objects.filter(account=account, revoked_at=None).count() >= KEYS_MAX:
        fields = Fields(call.fields)
        fields.fault("name", "too_many", f"{KEYS_MAX} keys are in use, which is the most: revoke some", limit=KEYS_MAX)
        fields.check()
    form = _checked(NewForm(_form_data(call.fields)), call.fields)
    made = key_create(
        account=account,
        now=call.now,
        address=call.address,
        through=_display(caller),
        **form.values(now=call.now),
    )
    owners = Membership.objects.filter(account=account, role=Role.OWNER).select_related("user")
    for owner in owners:
        key_made_mail(api_key=made.api_key, user=owner.user, address=call.address)
    body = {"status": "success", "key": made.text, "data": _described(made.api_key), "request_id": call.request_id}
    return Reply(body, headers={"Cache-Control": "no-store"})


def key_edit(call: Call, route: Route, key_id: str) -> Reply:
    """Other restrictions; fields that are left out stay. Takes effect everywhere within a second."""
    caller = _admin(call)
    api_key = _own(caller, key_id)
    given = _form_data(call.fields)
    form = _checked(KeyChangeForm(KeyChangeForm.initial_of(api_key) | given), call.fields)
    key_change(api_key=api_key, changes=form.changes(), now=call.now, address=call.address, through=_display(caller))
    api_key.refresh_from_db()
    return Reply({"status": "success", "data": _described(api_key), "request_id": call.request_id})


def key_end(call: Call, route: Route, key_id: str) -> Reply:
    """Revoke a key, also the one that asks. Revoking twice changes nothing."""
    caller = _admin(call)
    api_key = _own(caller, key_id)
    if key_revoke(api_key=api_key, now=call.now, address=call.address, through=_display(caller)):
        key_revoked_mail(api_key=api_key, by=None)
    api_key.refresh_from_db()
    return Reply({"status": "success", "data": _described(api_key), "request_id": call.request_id})


def _admin(call: Call) -> Caller:
    """Only a key that was given the scope: one without scopes may do everything but this."""
    caller = authenticate(call, SCOPE_ADMIN)
    if SCOPE_ADMIN not in caller.key.scopes:
        raise ScopeDenied(scope=SCOPE_ADMIN)
    return caller


def _display(caller: Caller) -> str:
    """The asking key as the record of the account shows it."""
    return ApiKey.objects.get(pk=caller.key_id).display


def _own(caller: Caller, key_id: str) -> ApiKey:
    number = int(key_id) if key_id.isdecimal() and len(key_id) < 19 else 0
    found = ApiKey.objects.filter(account_id=caller.account_id, pk=number).select_related("account").first()
    if found is None:
        raise KeyNotFound(key_id=key_id[:20])
    return found


def _form_data(given: dict[str, Any]) -> dict[str, Any]:
    """Lists and numbers as the form's widgets would send them; what is absent is left out."""
    data: dict[str, Any] = {}
    for name, form_name in NAMES.items():
        value = given.get(name)
        if value is None:
            continue
        if name == "scopes":
            data[form_name] = [str(one) for one in as_list(value)]
        else:
            data[form_name] = "\n".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return data


def _checked(form: Any, given: dict[str, Any]) -> Any:
    """The form, if all is well with it. Raises InvalidRequest under the API's names."""
    api_names = {form_name: name for name, form_name in NAMES.items()}
    fields = Fields(given)
    for form_name, errors in form.errors.items():
        name = api_names.get(form_name, form_name)
        text = " ".join(str(error) for error in errors).rstrip(".")
        fields.fault(name, "rejected", f"is not accepted: {text}", given.get(name))
    if SCOPE_ADMIN in form.cleaned_data.get("scopes", ()):
        fields.fault("scopes", "invalid", "must not hold admin: such keys are made on the keys page", given["scopes"])
    fields.check()
    return form


def _described(key: ApiKey) -> dict[str, Any]:
    def moment(value: datetime | None) -> str | None:
        return value.isoformat() if value else None

    return {
        "id": key.pk,
        "name": key.name,
        "display": key.display,
        "environment": key.environment,
        "scopes": key.scopes,
        "models": key.model_ids,
        "networks": key.networks,
        "origins": key.origins or [],
        "calls_per_minute": key.calls_per_minute,
        "calls_per_day": key.calls_per_day,
        "queued_calls": key.queued_calls,
        "budget_usd": None if key.budget_microusd is None else usd_text(key.budget_microusd),
        "warn_usd": None if key.warn_microusd is None else usd_text(key.warn_microusd),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "last_used_at": moment(key.last_used_at),
    }
