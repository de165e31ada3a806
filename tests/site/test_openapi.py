"""The OpenAPI document is the path table, no more and no less, and its twins on the reference page agree."""

from __future__ import annotations

from django.test import Client

from gateway.api.routes import ROUTES
from gateway.site.openapi import body_fields, document
from gateway.site.reference import operations


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    described = {
        (path, method) for path, item in document()["paths"].items() for method in item if method != "parameters"
    }
    assert described == {(f"/api/{route.path}", method.lower()) for route in ROUTES for method in route.methods}


def test_operation_ids_are_unique() -> None:
    ids = [
        item[method]["operationId"]
        for item in document()["paths"].values()
        for method in item
        if method != "parameters"
    ]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_document_leads_somewhere() -> None:
    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(document()):
        target = document()
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_a_picture_is_required_where_the_operation_needs_one() -> None:
    inpaint = next(route for route in ROUTES if route.path == "v7/images/inpaint")
    assert inpaint.profile is not None
    assert {field.name for field in body_fields(inpaint.profile) if field.required} == {
        "init_image",
        "mask_image",
        "prompt",
    }


def test_the_page_shows_every_operation_of_the_document(client: Client, catalogue: None) -> None:
    page = client.get("/docs/reference").content.decode()
    shown = [operation for group in operations() for operation in group.operations]
    paths = [path for operation in shown for path in (operation.path, *operation.aliases)]
    assert set(paths) == set(document()["paths"])
    assert all(path in page for path in paths)
    assert all(f'id="{operation.anchor}"' in page for operation in shown)


def test_the_document_is_served(client: Client, db: None) -> None:
    assert client.get("/openapi.json").json()["openapi"] == "3.1.0"
