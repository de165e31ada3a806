"""The playground places calls like any program's: counted, priced, refused in words, seen by their account alone."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import ApiKey, Membership, Role
from billing.models import UsageDay
from inference.models import Generation
from tests.conftest import Member

RUN = "/playground/run/local/demo"
JSON = {"accept": "application/json"}
FIELDS = {"prompt": "a red circle", "width": "256", "height": "256", "samples": "1", "seed": "", "webhook": ""}


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


def test_a_call_is_placed_and_counted_once(as_alice: Client, alice: Member) -> None:
    answer = as_alice.post(RUN, FIELDS, headers=JSON)
    assert answer.status_code == 202
    assert answer.json()["state"] == "waiting"
    generation = Generation.objects.get(account_id=alice.account.pk)
    assert (generation.asked["prompt"], generation.endpoint) == ("a red circle", "v7/images/text-to-image")
    assert UsageDay.objects.get(account_id=alice.account.pk).calls == 1


def test_its_key_has_no_text_that_anybody_saw(as_alice: Client, alice: Member) -> None:
    for _ in range(2):
        as_alice.post(RUN, FIELDS, headers=JSON)
    key = ApiKey.objects.get(account=alice.account, name="Playground")
    assert key.scopes == ["generate"]
    assert Generation.objects.filter(key_id=key.pk).count() == 2


def test_a_plain_form_leads_to_the_call_s_own_page(as_alice: Client) -> None:
    answer = as_alice.post(RUN, FIELDS)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/dashboard/requests/{Generation.objects.get().pk}"
    assert as_alice.get(answer.headers["Location"]).status_code == 200


def test_bad_input_is_told_and_writes_nothing(as_alice: Client) -> None:
    answer = as_alice.post(RUN, FIELDS | {"width": "99999"}, headers=JSON)
    assert answer.status_code == 400
    assert "width" in answer.json()["message"]
    assert not Generation.objects.exists()


def test_a_third_waiting_call_of_the_free_plan_is_refused(as_alice: Client) -> None:
    answers = [as_alice.post(RUN, FIELDS, headers=JSON) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "queue_full"


def test_cancelling_gives_the_free_call_back(as_alice: Client, alice: Member) -> None:
    job = as_alice.post(RUN, FIELDS, headers=JSON).json()
    assert as_alice.post(f"/playground/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert UsageDay.objects.get(account_id=alice.account.pk).calls == 0


def test_a_stranger_sees_and_stops_nothing(client: Client, as_alice: Client, charlie: Member) -> None:
    job = as_alice.post(RUN, FIELDS, headers=JSON).json()
    client.force_login(charlie.user)
    assert client.get(f"/playground/jobs/{job['id']}").status_code == 404
    assert client.post(f"/playground/jobs/{job['id']}/cancel").status_code == 404
    assert client.get(f"/dashboard/requests/{job['id']}").status_code == 404
    assert Generation.objects.get().state == "waiting"


def test_a_visitor_is_sent_to_the_log_in(client: Client, catalogue: None) -> None:
    assert client.post(RUN, FIELDS).headers["Location"].startswith("/accounts/login/")


def test_a_viewer_makes_nothing(client: Client, bob: Member) -> None:
    Membership.objects.filter(user=bob.user).update(role=Role.VIEWER)
    client.force_login(bob.user)
    assert client.post(RUN, FIELDS, headers=JSON).status_code == 403
    assert not Generation.objects.exists()
