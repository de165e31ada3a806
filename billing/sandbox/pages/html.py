"""Fills the page templates beside this file. Every value is escaped unless it is already Markup."""

import html
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True)
class Page:
    status: int
    html: str = ""
    location: str = ""


@cache
def _template(name: str) -> Template:
    return Template((FOLDER / f"{name}.html").read_text())


def fill(name: str, /, **values: object) -> Markup:
    safe = {key: value if isinstance(value, Markup) else html.escape(str(value)) for key, value in values.items()}
    return Markup(_template(name).substitute(safe))


def join(parts: list[Markup]) -> Markup:
    return Markup("\n".join(parts))


def page(title: str, body: Markup, status: int = 200) -> Page:
    return Page(status, fill("base", title=title, body=body))


def message(title: str, text: str, status: int = 200, link: str = "") -> Page:
    back = fill("link", url=link, text="Go back") if link else Markup("")
    return page(title, fill("message", title=title, text=text, back=back), status)


def redirect(url: str) -> Page:
    return Page(303, location=url)


def dollars(cents: int, currency: str = "usd") -> str:
    sign = "-" if cents < 0 else ""
    symbol = "$" if currency == "usd" else f"{currency.upper()} "
    return f"{sign}{symbol}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"
