"""The API reference: the OpenAPI document of this service, flattened for a page. It describes nothing of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.site.openapi import document
from gateway.site.samples import Sample, operation_samples

# Ids of calls, keys and models look different; what the reader puts there is theirs.
EXAMPLE_ID = "ID"
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    kind: str
    required: bool
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; `aliases` are the older paths that do the same and take the same."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    replies: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    # A body that the operation takes, from the document.
    example: Mapping[str, Any] = field(default_factory=dict)

    def samples(self, base_url: str) -> list[Sample]:
        """The call in each language."""
        path = self.path.replace("{id}", EXAMPLE_ID)
        return operation_samples(
            base_url=base_url, key="$API_KEY", method=self.method, path=path, body=dict(self.example)
        )


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    operations: tuple[Operation, ...]


@functools.cache
def operations() -> tuple[Group, ...]:
    """All operations by their first tag, in the document's order. What does and takes the same stands once."""
    groups: dict[str, dict[tuple[object, ...], Operation]] = {}
    for path, methods in document()["paths"].items():
        for method, found in methods.items():
            if method in METHODS:
                _merge(groups.setdefault(_tag(found), {}), _operation(path, method, found))
    return tuple(Group(title=title, operations=tuple(members.values())) for title, members in groups.items())


def _merge(members: dict[tuple[object, ...], Operation], operation: Operation) -> None:
    same = (operation.summary, operation.parameters, operation.path.endswith("{id}"))
    first = members.setdefault(same, operation)
    if operation.path not in (first.path, *first.aliases):
        members[same] = replace(first, aliases=(*first.aliases, operation.path))


def _tag(found: dict[str, Any]) -> str:
    return str((found.get("tags") or ["Other"])[0])


def _operation(path: str, method: str, found: dict[str, Any]) -> Operation:
    anchor = "".join(c if c.isalnum() else "-" for c in f"{method}{path}").strip("-")
    return Operation(
        anchor=anchor,
        method=method.upper(),
        path=path,
        summary=found.get("summary", ""),
        description=found.get("description", ""),
        parameters=(*_of_address(found), *_of_body(found)),
        replies=tuple(found.get("responses", {})),
        example=found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example", {}),
    )


def _of_address(found: dict[str, Any]) -> list[Parameter]:
    return [
        _parameter(item["name"], item.get("schema", {}), bool(item.get("required")), item.get("description", ""))
        for item in found.get("parameters", [])
        if item.get("in") in ("path", "query")
    ]


def _of_body(found: dict[str, Any]) -> list[Parameter]:
    content = found.get("requestBody", {}).get("content", {})
    media: dict[str, Any] = next(iter(content.values()), {})
    schema = resolve(media.get("schema", {}))
    required = set(schema.get("required", []))
    items = schema.get("properties", {}).items()
    found_parameters = [
        _parameter(name, resolve(item), name in required, resolve(item).get("description", "")) for name, item in items
    ]
    return sorted(found_parameters, key=lambda parameter: not parameter.required)


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a $ref, which here always points into this document's components."""
    target = schema.get("$ref")
    if target is None:
        return schema
    found: dict[str, Any] = document()["components"]["schemas"][target.rpartition("/")[2]]
    return resolve(found)


def _parameter(name: str, schema: dict[str, Any], required: bool, description: str) -> Parameter:
    default = schema.get("default")
    return Parameter(
        name=name,
        kind=_kind(schema),
        required=required,
        default="" if default is None else str(default).lower() if isinstance(default, bool) else str(default),
        description=" ".join([description, _range(schema)]).strip(),
    )


def _kind(schema: dict[str, Any]) -> str:
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(_kind(resolve(part)) for part in schema.get("oneOf") or schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(resolve(schema.get('items', {})))}"
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _range(schema: dict[str, Any]) -> str:
    low, high, choices = schema.get("minimum"), schema.get("maximum"), schema.get("enum")
    if choices:
        return "One of " + ", ".join(str(choice) for choice in choices) + "."
    if low is not None and high is not None:
        return f"{low} to {high}."
    return f"At least {low}." if low is not None else f"At most {high}." if high is not None else ""
