"""Examples on a model's page: from calls of the operator's own, with pictures that outlive those calls."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account, Membership, Role, User
from gateway.models import StaffAction
from gateway.services.deleting import call_forget
from inference.models import Generation, ImageModel
from inference.storage import get_storage
from tests.conftest import Member
from tests.site.test_log_and_gallery import deliver


@pytest.fixture
def own(as_owner: Client, alice: Member, client: Client) -> Generation:
    """A finished call of alice's, whose account the operator's owner is a member of."""
    owner = User.objects.get(email__startswith="owner")
    Membership.objects.create(account=Account.objects.get(pk=alice.account.pk), user=owner, role=Role.VIEWER)
    client.force_login(alice.user)
    return deliver(client)


def add(client: Client, call_id: object) -> None:
    assert client.post("/console/models/demo/examples/add", {"call_id": call_id}).status_code == 302


def examples() -> list[dict[str, object]]:
    return list(ImageModel.objects.get(model_id="demo").examples)


def test_a_call_becomes_an_example_and_its_picture_stays(as_owner: Client, own: Generation) -> None:
    add(as_owner, own.pk)
    (example,) = examples()
    key = str(example["picture"])
    assert key != own.images[0]["key"]
    assert example["call"] == {"prompt": "a red circle <b>", "width": "256", "height": "256", "seed": 7}
    call_forget(own, now=timezone.now())
    assert get_storage().exists(key)
    for page in ("/models/local/demo", "/console/models/demo/edit"):
        assert key in as_owner.get(page).content.decode()
    assert StaffAction.objects.filter(action="add example", target="model:demo").exists()


def test_it_is_taken_out_with_its_picture(as_owner: Client, own: Generation) -> None:
    add(as_owner, own.pk)
    key = str(examples()[0]["picture"])
    as_owner.post("/console/models/demo/examples/remove", {"picture": "generations/another-0.png"})
    assert len(examples()) == 1
    as_owner.post("/console/models/demo/examples/remove", {"picture": key})
    assert examples() == []
    assert not get_storage().exists(key)


def test_a_customer_s_call_is_not_taken(as_owner: Client, client: Client, charlie: Member) -> None:
    client.force_login(charlie.user)
    theirs = deliver(client)
    for call_id in (theirs.pk, 1, "x", 2**70):
        add(as_owner, call_id)
    assert examples() == []


def test_a_call_without_pictures_or_of_another_model_is_not_taken(as_owner: Client, own: Generation) -> None:
    Generation.objects.filter(pk=own.pk).update(model_id="other")
    add(as_owner, own.pk)
    Generation.objects.filter(pk=own.pk).update(model_id="demo", result=None)
    add(as_owner, own.pk)
    assert examples() == []
