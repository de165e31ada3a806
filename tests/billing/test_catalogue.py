"""The plans and prices of a new installation: written once, and never over what the operator has."""

import pytest
from django.utils import timezone

from billing.catalogue import PLANS, PRICES_MICROUSD, catalogue_seed
from billing.models import Plan, Price

pytestmark = pytest.mark.django_db


def test_a_second_seeding_writes_nothing(django_assert_num_queries):
    assert catalogue_seed() == len(PLANS) + len(PRICES_MICROUSD)
    with django_assert_num_queries(2):
        assert catalogue_seed() == 0


def test_only_what_has_no_version_is_written():
    now = timezone.now()
    Plan.objects.create(code="free", name="Ours", calls_per_minute=1, queued_calls=1, effective_from=now)
    Price.objects.create(price_code="sdxl", amount_microusd=1, effective_from=now)
    assert catalogue_seed() == len(PLANS) + len(PRICES_MICROUSD) - 2
    assert Plan.objects.get(code="free").name == "Ours"
    assert Price.objects.get(price_code="sdxl").amount_microusd == 1
    assert list(Plan.objects.exclude(code="free").order_by("position").values_list("code", "position")) == [
        (plan["code"], position) for position, plan in enumerate(PLANS) if plan["code"] != "free"
    ]


def test_a_customer_s_own_price_is_no_price_for_all(alice):
    Price.objects.filter(price_code="sd15").delete()
    Price.objects.create(price_code="sd15", amount_microusd=1, effective_from=timezone.now(), account=alice.account)
    assert catalogue_seed() == 1
