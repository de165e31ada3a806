"""The catalogue's facets count what they leave, its orders order, and comparing is a call per column."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from gateway.site import catalogue
from gateway.site.facets import Facet
from inference.models import Generation, ImageModel, RenderWorker
from tests.conftest import Member

pytestmark = pytest.mark.usefixtures("catalogue")


def made(model_id: str, **values: object) -> ImageModel:
    fields: dict[str, object] = {
        "name": model_id.title(), "family": "sdxl", "operations": ["text2img"], "source": model_id,
        "price_code": "sdxl", "licence": "apache-2.0", "provider": "bench",
    }  # fmt: skip
    return ImageModel.objects.create(model_id=model_id, **{**fields, **values})


@pytest.fixture
def models(catalogue: None) -> None:
    made("alpha", operations=["text2img", "img2img"])
    made("beta", licence="openrail")
    made("gamma", family="flux", price_code="other", steps_default=4, width_px_default=512, height_px_default=512)
    made("hidden", published=False)


def facets(query: str) -> dict[str, dict[str, int]]:
    found: list[Facet] = catalogue.facets(catalogue.Query.parse(QueryDict(query)), now=timezone.now())
    return {facet.key: {option.value: option.count for option in facet.options} for facet in found}


def listed(query: str) -> list[str]:
    found = catalogue.search(catalogue.Query.parse(QueryDict(query)), now=timezone.now())
    return [model.model_id for model in found if model.provider == "bench"]


@pytest.mark.usefixtures("models")
class TestFacets:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("family=sdxl", ["alpha", "beta"]),
            ("family=sdxl&licence=openrail", ["beta"]),
            ("task=img2img", ["alpha"]),
            ("price=other", ["gamma"]),
            ("speed=quick&family=flux", ["gamma"]),
            ("q=bench+gam", ["gamma"]),
            ("licence=nothing", []),
            ("warm=1", []),
        ],
    )
    def test_each_narrows_the_list(self, query: str, found: list[str]) -> None:
        assert listed(query) == found

    def test_what_states_no_licence_is_no_choice_and_none_is_chosen_by_itself(self, client: Client) -> None:
        made("delta", licence="")
        assert "" not in facets("")["licence"]
        assert not re.search(r"<option[^>]* selected>(Not stated|apache)", client.get("/models").content.decode())

    def test_a_count_is_what_choosing_it_would_leave(self) -> None:
        for chosen in ("", "family=sdxl", "licence=openrail&family=sdxl", "q=bench&task=text2img"):
            for key, options in facets(chosen).items():
                for value, count in options.items():
                    asked = QueryDict(chosen, mutable=True)
                    asked[key] = value
                    query = catalogue.Query.parse(asked)
                    assert catalogue.search(query, now=timezone.now()).count() == count, (chosen, key, value)

    def test_a_loaded_model_is_found_as_such(self) -> None:
        now = timezone.now()
        RenderWorker.objects.create(name="w", state="idle", resident=["beta"], last_seen_at=now)
        assert listed("warm=1") == ["beta"]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", ["alpha", "beta", "gamma"]),
        ("new", ["gamma", "beta", "alpha"]),
        ("speed", ["gamma", "alpha", "beta"]),
        ("popular", ["beta", "alpha", "gamma"]),
        ("price", ["alpha", "beta", "gamma"]),
    ],
)
def test_each_order_orders(sort: str, order: list[str], as_alice: Client, alice: Member) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma")):
        created = timezone.now() + timedelta(seconds=number)
        ImageModel.objects.filter(model_id=name).update(created_at=created)
    fields = {"prompt": "a", "width": "512", "height": "512"}
    as_alice.post("/playground/run/bench/beta", fields, headers={"accept": "application/json"})
    assert Generation.objects.get().model_id == "beta"
    assert listed(f"sort={sort}") == order


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.mark.usefixtures("models")
class TestComparing:
    def test_the_price_of_all_columns_stands_before_the_click(self, client: Client) -> None:
        page = client.get(
            "/playground/compare?model=alpha&model=beta&model=nothing&prompt=a+%22fox%22"
        ).content.decode()
        shown = catalogue.entries(list(ImageModel.objects.filter(model_id="alpha")), now=timezone.now())[0]
        assert shown.price_microusd
        total = re.search(r"<strong data-total>\$([\d.]+)<", page)
        assert total is not None
        assert round(float(total[1]) * 1_000_000) == 2 * shown.price_microusd
        assert "There is no such model." in page
        assert html.escape('a "fox"') in page

    def test_without_a_script_every_column_is_a_call(self, as_alice: Client) -> None:
        fields = {"prompt": "a fox", "model": ["alpha", "beta"], "num_inference_steps": ["5", ""], "seed": ["1", "2"]}
        answer = as_alice.post("/playground/compare/run", fields)
        assert answer.headers["Location"].startswith("/dashboard/requests?from=")
        calls = {row.model_id: row.asked for row in Generation.objects.all()}
        assert set(calls) == {"alpha", "beta"}
        assert (calls["alpha"]["seed"], calls["beta"]["seed"]) == ("1", "2")
        assert "num_inference_steps" not in calls["beta"]

    def test_a_refusal_is_told_in_words_on_the_same_form(self, as_alice: Client) -> None:
        answer = as_alice.post("/playground/compare/run", {"prompt": "a fox", "model": "alpha", "width": "99999"})
        assert answer.status_code == 400
        assert "width" in answer.content.decode()
        assert not Generation.objects.exists()

    def test_a_visitor_may_look_but_not_run(self, client: Client) -> None:
        assert client.get("/playground/compare").status_code == 200
        answer = client.post("/playground/compare/run", {"prompt": "a", "model": "alpha"})
        assert answer.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("path", ["/", "/models", "/pricing", "/limits", "/status", "/docs/errors"])
def test_every_page_has_a_twin_for_who_accepts_markdown(client: Client, path: str) -> None:
    answer = client.get(path, headers={"accept": "text/markdown, text/html;q=0.5"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(("text/markdown", "text/plain"))
    text = answer.content.decode()
    assert text.startswith("# ")
    assert "<div" not in text
    assert "Accept" in answer.headers["Vary"]
    assert client.get(path, headers={"accept": "text/html"}).content.startswith((b"<!doctype html>", b"\n"))


def test_the_list_s_twin_pages_through_all_models(client: Client, models: None) -> None:
    for number in range(60):
        made(f"many-{number:02}")
    first = client.get("/models.md?q=many").content.decode()
    link = re.search(r"Next page: https?://[^/]+(/\S+)", first)
    assert link is not None
    second = client.get(html.unescape(link[1])).content.decode()
    assert len(set(re.findall(r"`(many-\d\d)`", first + second))) == 60


def test_examples_show_the_picture_and_fill_the_playground_with_its_call(client: Client) -> None:
    call = {"prompt": "a fox & a hen", "seed": 7, "num_inference_steps": 9, "width": 640, "height": "384"}
    entries = [
        {"picture": "/static/img/icon.svg", "call": call},
        {"picture": "../../etc/passwd", "call": {}},
        "rubbish",
    ]
    made("shown", examples=entries)
    assert 'class="thumb" src="/static/img/icon.svg"' in client.get("/models?q=shown").content.decode()
    page = client.get("/models/bench/shown").content.decode()
    assert "seed 7 · 9 steps" in page
    german = client.get("/models/bench/shown", headers={"accept-language": "de"}).content.decode()
    assert "Seed 7 · 9 Schritte" in german
    assert re.search(r'<img src="/static/img/icon.svg"[^>]* width="640" height="384"', page)
    link = re.search(r'<a href="(\?[^"#]*)#playground">Open in the playground', page)
    assert link is not None
    assert "/static/img/icon.svg" in page
    assert "passwd" not in page
    filled = client.get(f"/models/bench/shown{html.unescape(link[1])}").content.decode()
    assert ">a fox &amp; a hen</textarea>" in filled
    assert re.search(r'name="seed"[^>]*value="7"', filled)
    assert "a fox & a hen" in client.get("/models/bench/shown/api.md").content.decode()
