"""Tags that put a component of templates/components/ on a page: `component` for one with a body, `icon` for a glyph.

A component without a body is a plain {% include "components/x.html" with ... only %}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from gateway.site.speech import script_words as words_of

register = template.Library()

# Outlines on a 16 px grid, stroked with the text's colour.
ICONS: dict[str, str] = json.loads((Path(__file__).parent / "icons.json").read_text())


@register.simple_tag
def icon(name: str, size_px: int = 16) -> SafeString:
    """A decorative glyph: the words beside it carry the meaning."""
    return format_html(
        '<svg class="icon" width="{0}" height="{0}" viewBox="0 0 16 16" fill="none" stroke="currentColor" '
        'stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round" aria-hidden="true"><path d="{1}"/></svg>',
        size_px,
        ICONS[name],
    )


class ComponentNode(template.Node):
    """Renders templates/components/<name>.html with the given values and the enclosed text as `slot`."""

    def __init__(self, name: FilterExpression, values: dict[str, FilterExpression], body: NodeList) -> None:
        self.name = name
        self.values = values
        self.nodelist = body

    def render(self, context: template.Context) -> SafeString:
        values: dict[str, Any] = {key: value.resolve(context) for key, value in self.values.items()}
        values["slot"] = self.nodelist.render(context)
        values.setdefault("request", context.get("request"))
        assert context.template is not None
        component = context.template.engine.get_template(f"components/{self.name.resolve(context)}.html")
        return component.render(context.new(values))


@register.tag
def component(parser: Parser, token: Token) -> ComponentNode:
    """{% component "card" title=name %} body {% endcomponent %}"""
    _, name, *rest = token.split_contents()
    values = token_kwargs(rest, parser)
    if rest:
        raise template.TemplateSyntaxError(f"component takes name=value pairs after its name, not {rest}.")
    body = parser.parse(("endcomponent",))
    parser.delete_first_token()
    return ComponentNode(parser.compile_filter(name), values, body)


@register.filter
def undone_ids(message: Any) -> list[str]:
    """The calls that a message offers to bring back: its extra tags are "undo" and their ids. Else none."""
    word, *ids = str(message.extra_tags or "").split() or [""]
    return ids if word == "undo" else []


@register.filter
def at(values: Mapping[Any, Any], key: Any) -> Any:
    """What a table made by the view has for `key`; nothing where it has none."""
    return values.get(key, "")


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """This page's query string with some values changed: None removes one. Starts with "?"."""
    values = context["request"].GET.copy()
    for name, value in changes.items():
        values.pop(name, None)
        if value not in (None, ""):
            values[name] = str(value)
    return f"?{values.urlencode()}"


@register.simple_tag
def script_words(scripts: str) -> SafeString | str:
    """What the scripts of a page say, for js/speech.js; nothing on English pages."""
    words = words_of(scripts)
    return json_script(words, "speech") if words else ""


@register.simple_tag
def payment_text(payment: Any, total_microusd: int | None) -> str:
    """What would pay for a call of that list price, in words."""
    return str(payment.text(total_microusd or 0))
