"""Rules of the API itself: keys, idempotency, pages, expansion, errors, and troubles on purpose."""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe as library

from billing.sandbox import SandboxStripe
from tests.billing.sandbox.conftest import START, Clock
from tests.billing.sandbox.flows import Shop, real_client

SESSIONS = "/v1/checkout/sessions"


def topup_params(customer: str, cents: int = 1000) -> dict:
    line = {"quantity": 1, "price_data": {"currency": "usd", "unit_amount": cents, "product_data": {"name": "Funds"}}}
    return {"mode": "payment", "customer": customer, "line_items": [line], "success_url": "http://shop.test/done"}


def sessions(shop: Shop) -> list[str]:
    return [session.id for session in shop.v1.checkout.sessions.list({"limit": 100}).data]


# Keys


def test_a_wrong_key_is_unauthorized(stripe: SandboxStripe):
    with pytest.raises(library.AuthenticationError) as refused:
        real_client(stripe, key="sk_test_wrong").v1.customers.create({})
    assert refused.value.http_status == 401


def test_a_restricted_key_may_only_what_it_was_given(start: Callable[..., SandboxStripe]):
    stripe = start(api_keys={"rk_test_reader": frozenset({"customers:write", "events:read"})})
    reader = real_client(stripe, key="rk_test_reader")
    reader.v1.customers.create({})
    reader.v1.customers.list({})
    reader.v1.events.list({})
    with pytest.raises(library.PermissionError) as refused:
        reader.v1.refunds.create({"charge": "ch_1"})
    assert (refused.value.http_status, stripe.faults) == (403, [])


def test_another_api_version_is_a_fault(stripe: SandboxStripe, client: library.StripeClient):
    client.v1.customers.create({}, {"stripe_version": "2024-06-20"})
    assert (
        stripe.faults.pop()
        == "POST /v1/customers: asked for API version 2024-06-20, the sandbox speaks 2026-10-28.endive"
    )


# Idempotency


def test_the_same_key_gives_the_same_answer_and_does_the_work_once(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    first, second = shop.topup(customer, key="topup-1"), shop.topup(customer, key="topup-1")
    assert (first.id, first.url) == (second.id, second.url)
    assert sessions(shop) == [first.id]
    assert [
        request.replayed for request in stripe.requests if request.path == SESSIONS and request.method == "POST"
    ] == [False, True]


def test_the_answer_is_replayed_as_it_was_even_when_the_object_changed(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    session = shop.topup(customer, key="topup-1")
    stripe.pay(session=session.id)
    assert shop.topup(customer, key="topup-1").status == "open"


def test_a_key_with_other_parameters_is_an_error(shop: Shop):
    customer = shop.customer()
    shop.topup(customer, 1000, key="topup-1")
    with pytest.raises(library.IdempotencyError, match="same parameters"):
        shop.topup(customer, 2000, key="topup-1")
    assert len(sessions(shop)) == 1


def test_a_key_on_another_endpoint_is_an_error(shop: Shop):
    shop.topup(shop.customer(), key="topup-1")
    with pytest.raises(library.IdempotencyError, match="same endpoint"):
        shop.v1.customers.create({}, {"idempotency_key": "topup-1"})


def test_refused_parameters_do_not_use_up_the_key(shop: Shop):
    customer = shop.customer()
    with pytest.raises(library.InvalidRequestError):
        shop.topup(customer, 10, key="topup-1")
    assert shop.topup(customer, 1000, key="topup-1").amount_total == 1000


def test_a_key_is_forgotten_after_a_day(shop: Shop, clock: Clock):
    customer = shop.customer()
    first = shop.topup(customer, key="topup-1")
    clock.seconds += 86_401
    assert shop.topup(customer, key="topup-1").id != first.id


def test_a_second_request_while_the_first_one_runs_is_a_conflict(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    stripe.trouble.add("delay", method="POST", path=SESSIONS, seconds=0.6)
    impatient = real_client(stripe, retries=0)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(shop.topup, customer, key="topup-1")
        while not any(request.path == SESSIONS for request in stripe.requests):
            time.sleep(0.01)
        time.sleep(0.05)
        with pytest.raises(library.APIError) as conflict:
            impatient.v1.checkout.sessions.create(topup_params(customer), {"idempotency_key": "topup-1"})
        assert (conflict.value.http_status, conflict.value.error.code) == (409, "idempotency_key_in_use")
        assert running.result().status == "open"
    assert len(sessions(shop)) == 1


def test_sixteen_at_once_with_one_key_do_the_work_once(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    barrier = threading.Barrier(16)

    def create() -> str:
        barrier.wait()
        return str(shop.topup(customer, key="topup-1").id)

    with ThreadPoolExecutor(16) as pool:
        found = {future.result() for future in [pool.submit(create) for _ in range(16)]}
    assert list(found) == sessions(shop)


# Pages and expansion


def test_pages_follow_each_other_in_both_directions(shop: Shop):
    made = [shop.v1.customers.create({"name": str(number)}).id for number in range(7)][::-1]
    first = shop.v1.customers.list({"limit": 3})
    second = shop.v1.customers.list({"limit": 3, "starting_after": first.data[-1].id})
    back = shop.v1.customers.list({"limit": 2, "ending_before": second.data[0].id})
    assert [found.id for found in first.data] == made[:3]
    assert ([found.id for found in second.data], second.has_more) == (made[3:6], True)
    assert ([found.id for found in back.data], back.has_more) == (made[1:3], True)
    assert [found.id for found in shop.v1.customers.list({"limit": 2}).auto_paging_iter()] == made


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 101}, {"starting_after": "cus_nobody"}])
def test_impossible_pages_are_refused(shop: Shop, params: dict):
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.v1.customers.list(params)
    assert refused.value.param == next(iter(params))


def test_lists_filter_by_time(shop: Shop, clock: Clock):
    early = shop.customer()
    clock.seconds += 100
    late = shop.customer()
    assert [found.id for found in shop.v1.customers.list({"created": {"gte": START + 100}}).data] == [late]
    assert [found.id for found in shop.v1.customers.list({"created": {"lt": START + 100}}).data] == [early]


def test_ids_become_objects_only_where_asked(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer(), invoice_creation={"enabled": True})
    stripe.pay(session=session.id)
    plain = shop.session(session.id)
    assert isinstance(plain.payment_intent, str)
    assert "line_items" not in plain
    with pytest.raises(library.InvalidRequestError, match="cannot be expanded"):
        shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["currency"]})
    listed = shop.v1.checkout.sessions.list({"expand": ["data.payment_intent", "data.customer"]})
    assert listed.data[0].payment_intent.status == "succeeded"
    assert listed.data[0].customer.email == "alice@example.com"


# Errors


def test_a_missing_object_is_a_404_with_its_name(shop: Shop):
    with pytest.raises(library.InvalidRequestError, match="No such subscription: 'sub_1'") as refused:
        shop.v1.subscriptions.retrieve("sub_1")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_a_removed_parameter_is_refused_and_noted(stripe: SandboxStripe, shop: Shop):
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.topup(shop.customer(), payment_method_types=["card"])
    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "payment_method_types")
    assert stripe.faults.pop() == f"POST {SESSIONS}: payment_method_types: unknown field"


def test_a_parameter_that_is_not_modelled_is_never_ignored_in_silence(stripe: SandboxStripe, shop: Shop):
    shop.topup(shop.customer(), consent_collection={"promotions": "auto"})
    assert (
        stripe.faults.pop()
        == f"POST {SESSIONS}: Stripe takes the parameter consent_collection, the sandbox does not model it"
    )


def test_an_operation_that_is_not_modelled_is_refused_and_noted(stripe: SandboxStripe, shop: Shop):
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.v1.payouts.list({})
    assert refused.value.http_status == 404
    assert stripe.faults.pop() == "GET /v1/payouts: Stripe has this operation, the sandbox does not model it"


def test_a_failure_of_the_sandbox_itself_is_a_fault_and_not_a_hang(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    del stripe.world.state.objects["customer"][customer]["invoice_settings"]
    with pytest.raises(library.APIError) as failed:
        shop.v1.customers.update(customer, {"name": "Alice"})
    assert failed.value.http_status == 500
    assert "the sandbox failed with KeyError" in stripe.faults.pop()


# Troubles on purpose


def test_a_500_before_anything_is_done_may_be_repeated(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    stripe.trouble.add("error", path=SESSIONS)
    assert shop.topup(customer, key="topup-1").status == "open"
    assert [request.status for request in stripe.requests if request.path == SESSIONS] == [500, 200]
    assert len(sessions(shop)) == 1


def test_a_500_after_the_work_is_replayed_with_the_work_done(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    stripe.trouble.add("error_after_commit", path=SESSIONS)
    impatient = real_client(stripe, retries=0)
    for _ in range(2):
        with pytest.raises(library.APIError) as failed:
            impatient.v1.checkout.sessions.create(topup_params(customer), {"idempotency_key": "topup-1"})
        assert failed.value.http_status == 500
    assert len(sessions(shop)) == 1


def test_an_answer_lost_on_the_way_is_repeated_by_the_client(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    stripe.trouble.add("drop_after_commit", path=SESSIONS)
    assert shop.topup(customer, key="topup-1").id == sessions(shop)[0]
    assert len(sessions(shop)) == 1


@pytest.mark.parametrize(("kind", "made"), [("hang", 0), ("hang_after_commit", 1)])
def test_a_hanging_stripe_runs_into_the_clients_time_limit(stripe: SandboxStripe, shop: Shop, kind: str, made: int):
    customer = shop.customer()
    stripe.trouble.add(kind, path=SESSIONS, seconds=1)
    with pytest.raises(library.APIConnectionError):
        real_client(stripe, retries=0, timeout_s=0.2).v1.checkout.sessions.create(topup_params(customer))
    assert len(sessions(shop)) == made


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("rate_limit", library.RateLimitError, 429),
        ("unavailable", library.APIError, 503),
        ("forbidden", library.PermissionError, 403),
        ("unauthorized", library.AuthenticationError, 401),
        ("conflict", library.APIError, 409),
    ],
)
def test_each_trouble_has_its_status(stripe: SandboxStripe, kind: str, error: type[library.StripeError], status: int):
    stripe.trouble.add(kind, method="GET", path="/v1/customers*", skip=1)
    impatient = real_client(stripe, retries=0).v1.customers
    impatient.list({})
    with pytest.raises(error) as failed:
        impatient.list({})
    assert failed.value.http_status == status
    impatient.list({})


def test_stripe_refuses_connections_and_comes_back_at_the_same_address(stripe: SandboxStripe):
    impatient = real_client(stripe, retries=0).v1.customers
    customer = impatient.create({}).id
    stripe.refuse_connections()
    with pytest.raises(library.APIConnectionError):
        impatient.list({})
    stripe.listen()
    assert real_client(stripe).v1.customers.retrieve(customer).id == customer


def test_troubles_drawn_by_a_seed_are_the_same_each_time(start: Callable[..., SandboxStripe]):
    def statuses(seed: int) -> list[int]:
        stripe = start(seed=seed)
        stripe.trouble.chance(0.5, "rate_limit", "forbidden")
        client = real_client(stripe, retries=0)
        for _ in range(20):
            with contextlib.suppress(library.StripeError):
                client.v1.customers.list({})
        return [request.status for request in stripe.requests]

    first = statuses(3)
    assert first == statuses(3)
    assert first != statuses(4)
    assert {200, 403, 429} == set(first)


def test_an_unknown_trouble_is_refused():
    with pytest.raises(ValueError, match="no trouble called 'gremlins'"):
        SandboxStripe().trouble.add("gremlins")


def test_ids_depend_on_the_seed_alone(start: Callable[..., SandboxStripe]):
    ids = [Shop(found, real_client(found)).customer() for found in (start(seed=5), start(seed=5), start(seed=6))]
    assert ids[0] == ids[1] != ids[2]
