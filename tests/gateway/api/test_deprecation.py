"""A model that is about to go tells so on its page and in its calls' headers; and the catalogue at its full size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from inference.models import ImageModel
from tests.gateway.api.conftest import Api

CALL = {"prompt": "a red circle", "width": "64", "height": "64"}
SINCE = datetime(2026, 1, 2, tzinfo=UTC)
UNTIL = datetime(2099, 7, 1, tzinfo=UTC)
_DESCRIPTION = '"inference_imagemodel"."description"'


@pytest.fixture
def ending(catalogue: None) -> ImageModel:
    """The demo model, to be replaced by another."""
    heir = ImageModel.objects.create(
        model_id="heir", name="The heir", family="sd15", operations=["text2img"], source="x", price_code="sd15"
    )
    ImageModel.objects.filter(model_id="demo").update(deprecated_at=SINCE, sunset_at=UNTIL, replaced_by=heir)
    return ImageModel.objects.get(model_id="demo")


def headers_of(api: Api) -> dict[str, str | None]:
    api.post("v7/images/text-to-image", **CALL, model_id="demo")
    assert api.last is not None
    return {name: api.last.headers.get(name) for name in ("Deprecation", "Sunset", "Link")}


def test_its_calls_carry_the_days_and_the_successor(api: Api, ending: ImageModel) -> None:
    assert headers_of(api) == {
        "Deprecation": f"@{int(SINCE.timestamp())}",
        "Sunset": "Wed, 01 Jul 2099 00:00:00 GMT",
        "Link": '<http://testserver/api/v7/models/heir>; rel="successor-version"',
    }


@pytest.mark.parametrize("since", [None, timezone.now() + timedelta(days=30)])
def test_a_model_that_stays_carries_none(api: Api, ending: ImageModel, since: datetime | None) -> None:
    ImageModel.objects.filter(pk=ending.pk).update(deprecated_at=since)
    assert set(headers_of(api).values()) == {None}


def test_pages_and_lists_say_it(client: Client, api: Api, ending: ImageModel) -> None:
    page = client.get("/models/local/demo").content.decode()
    assert "This model is going away" in page
    assert 'href="/models/local/heir">The heir</a> instead' in page
    assert (
        "**Deprecated since 2026-01-02**, kept until 2099-07-01. Use `heir`"
        in client.get("/models/local/demo/api.md").content.decode()
    )
    assert "Going away" in client.get("/models").content.decode()
    described = api.get("v7/models/demo")["data"]
    assert (described["deprecated_at"][:10], described["sunset_at"][:10], described["replaced_by"]) == (
        "2026-01-02",
        "2099-07-01",
        "heir",
    )
    assert "going away" not in client.get("/models/local/heir").content.decode()


class TestTenThousandModels:
    @pytest.fixture(autouse=True)
    def _many(self, catalogue: None) -> None:
        ImageModel.objects.bulk_create(
            ImageModel(
                model_id=f"model-{number:05}",
                name=f"Model {number}",
                description="words " * 40,
                family="sdxl",
                operations=["text2img", "img2img"] if number % 2 else ["text2img"],
                tags=["öl", f"tag {number % 7}"],
                provider=f"maker-{number % 5}",
                source="x",
                price_code="sdxl",
            )
            for number in range(10_000)
        )

    def test_a_page_of_the_search_reads_a_page(
        self, api: Api, subtests: pytest.Subtests, django_assert_max_num_queries: Any
    ) -> None:
        for query, total in (
            ("", 10_001),
            ("feature=img2img", 5_001),
            ("feature=img", 0),
            ("tag=%C3%B6l", 10_000),
            ("tag=%C3%96L", 0),
            ("tag=tag 3&feature=img2img", None),
            ('tag="', 0),
            ("provider=maker-1&page=10&limit=100", 2_000),
        ):
            with subtests.test(query):
                with django_assert_max_num_queries(8) as queries:
                    body = api.get(f"v7/models?{query}")
                assert total is None or body["total"] == total
                assert len(body["data"]) <= 100
                reading = [sql for one in queries.captured_queries if _DESCRIPTION in (sql := one["sql"])]
                assert reading
                assert all("LIMIT" in sql for sql in reading)

    def test_what_there_is_to_filter_by_comes_from_different_lists_alone(
        self, api: Api, django_assert_max_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(8) as queries:
            data = api.get("v6/model-search/filters")["data"]
        assert len(data["tags"]) == 8 + len(set(ImageModel.objects.get(model_id="demo").tags))
        assert data["providers"] == ["local", *(f"maker-{number}" for number in range(5))]
        assert all("DISTINCT" in one["sql"] or "LIMIT" in one["sql"] for one in queries.captured_queries)
