"""Tags that put a component of templates/components/ on a page: `component` for one with a body, `icon` for a glyph.

A component without a body is a plain {% include "components/x.html" with ... only %}.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

# Outlines on a 16 px grid, stroked with the text's colour.
ICONS = {
    "copy": "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
    "check": "m3 8.5 3.2 3.2L13 5",
    "close": "m4 4 8 8m0-8-8 8",
    "sun": "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6ZM8 1v1.6m0 10.8V15M1 8h1.6m10.8 0H15M3 3l1.2 1.2m7.6 7.6L13 13M13 3l-1.2 1.2M4.2 11.8 3 13",
    "moon": "M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1Z",
    "screen": "M2 3h12v8H2zM5.5 14h5M8 11v3",
    "menu": "M2.5 4.5h11M2.5 8h11m-11 3.5h11",
    "home": "M2.5 7.5 8 3l5.5 4.5V13h-3.7V9.5H6.2V13H2.5z",
    "key": "M10.5 2.5a3 3 0 1 1-2.6 4.5L2.5 12.4v1.1h2.3v-1.7h1.7v-1.7l1.4-1.4",
    "chart": "M2.5 2.5v11h11M5 10.5l2.7-3.2 2 1.7L13 5",
    "list": "M2.5 4h1m2 0h8M2.5 8h1m2 0h8m-11 4h1m2 0h8",
    "images": "M2.5 4.5h9v9h-9zM5 4.5v-2h8.5V11h-2M3 12l3-3 2 2 1.5-1.5L11 11",
    "hook": "M8 2.5v5.2a2.8 2.8 0 1 1-4.8 2M8 2.5 5.8 4.7M8 2.5l2.2 2.2",
    "card": "M2 4h12v8.5H2zM2 7h12M4.5 10h2",
    "people": "M6 7.5a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6Zm-4 5.6c.2-2.3 1.7-3.6 4-3.6s3.8 1.3 4 3.6M10.5 7.4a2 2 0 1 0 0-4M14 13c-.1-1.9-1-3.1-2.5-3.5",
    "gear": "M8 5.8a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4ZM8 1.5v2m0 9v2M1.5 8h2m9 0h2M3.4 3.4l1.4 1.4m6.4 6.4 1.4 1.4m0-9.2-1.4 1.4m-6.4 6.4-1.4 1.4",
    "book": "M8 4c-1.5-1.2-3.3-1.5-5.5-1.5v10c2.2 0 4 .3 5.5 1.5 1.5-1.2 3.3-1.5 5.5-1.5v-10C11.3 2.5 9.5 2.8 8 4Zm0 0v10",
    "cube": "M8 1.8 13.5 5v6L8 14.2 2.5 11V5zM2.5 5 8 8.2 13.5 5M8 8.2v6",
    "info": "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Zm0-6.5V11M8 5v.2",
    "warn": "M8 2 14.5 13.5h-13zM8 6.5v3.3M8 11.6v.2",
    "download": "M8 2.5V10M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
    "arrow": "M2.5 8h11M9.5 4l4 4-4 4",
    "search": "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.3 10.3l3.2 3.2",
    "shield": "M8 1.8 13 3.5V8c0 3-2 5-5 6.2C5 13 3 11 3 8V3.5z",
    "play": "M4.5 2.8v10.4L13 8z",
    "out": "M6 2.5H2.5v11H6M6 8h7.5M10.5 5l3 3-3 3",
    "limits": "M2 12a6 6 0 1 1 12 0M8 12l3-4.5",
    "frame": "M4.5 1v3.5H1M11.5 1v3.5H15M4.5 15v-3.5H1m10.5 3.5v-3.5H15M4.5 4.5h7v7h-7z",
    "plus": "M8 3v10M3 8h10",
    "bolt": "M9 1.5 3.5 9H8l-1 5.5L12.5 7H8z",
    "user": "M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8Zm-5 5.7C3.3 11 5.2 9.6 8 9.6s4.7 1.4 5 4.1",
}


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


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """This page's query string with some values changed: None removes one. Starts with "?"."""
    values = context["request"].GET.copy()
    for name, value in changes.items():
        values.pop(name, None)
        if value not in (None, ""):
            values[name] = str(value)
    return f"?{values.urlencode()}"
