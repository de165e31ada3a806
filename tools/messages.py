"""The translations of pages and mails: finds what is marked, keeps locale/<language>/LC_MESSAGES/django.po in step, and
compiles it. Pure Python, so that it needs no gettext; the compiled file is checked in (see docs/decisions).

python -m tools.messages            bring the .po files up to date and compile them
"""

from __future__ import annotations

import ast
import io
import os
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("accounts", "billing", "gateway")
NAMES = frozenset({"_", "gettext", "gettext_lazy", "gettext_noop"})
LANGUAGES = ("de",)


def po_path(language: str) -> Path:
    return ROOT / "locale" / language / "LC_MESSAGES" / "django.po"


def messages_marked() -> dict[str, list[str]]:
    """Every marked text, with the files that it stands in."""
    found: dict[str, list[str]] = {}
    for name, texts in (*_of_templates(), *_of_modules()):
        for text in texts:
            places = found.setdefault(text, [])
            if name not in places:
                places.append(name)
    return found


def _of_templates() -> Iterator[tuple[str, list[str]]]:
    """By Django's own reading of the templates: what it would look up is what is found."""
    from django.template import engines
    from django.templatetags.i18n import BlockTranslateNode, TranslateNode

    engine = engines["django"].engine  # type: ignore[attr-defined]
    for path in sorted((ROOT / "templates").rglob("*.*")):
        name = str(path.relative_to(ROOT / "templates"))
        nodes = engine.get_template(name).nodelist
        texts = []
        for node in nodes.get_nodes_by_type(TranslateNode):
            literal = getattr(node.filter_expression.var, "literal", None)
            if isinstance(literal, str):
                texts.append(literal)
        for node in nodes.get_nodes_by_type(BlockTranslateNode):
            text, _ = node.render_token_list(node.singular)
            texts.append(text)
        yield f"templates/{name}", texts


def _of_modules() -> Iterator[tuple[str, list[str]]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            source = path.read_text()
            if "django.utils.translation" not in source:
                continue
            calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
            yield str(path.relative_to(ROOT)), [text for call in calls if (text := _text_of(call))]


def _text_of(call: ast.Call) -> str:
    named = isinstance(call.func, ast.Name) and call.func.id in NAMES
    first = call.args[0] if named and call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def catalog_read(language: str) -> Catalog:
    path = po_path(language)
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def catalog_updated(language: str) -> Catalog:
    """What is marked now, with the translations that there are."""
    known = catalog_read(language)
    updated = Catalog(
        locale=language,
        domain="django",
        header_comment="# Translations of pages and mails: see tools/messages.py.",
        project="pages and mails",
        version="1",
        msgid_bugs_address="",
        last_translator="",
        language_team="",
        fuzzy=False,
    )
    # Without texts that changed, nothing changes.
    updated.creation_date = updated.revision_date = known.creation_date
    for text, places in sorted(messages_marked().items()):
        message = known.get(text)
        updated.add(text, message.string if message else "", locations=[(place, 0) for place in places])
    return updated


def compiled(catalog: Catalog) -> bytes:
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def main() -> None:
    for language in LANGUAGES:
        catalog = catalog_updated(language)
        path = po_path(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalog, width=120, include_lineno=False, sort_output=True)
        path.with_suffix(".mo").write_bytes(compiled(catalog))
        missing = [message.id for message in catalog if message.id and not message.string]
        print(f"{language}: {len(catalog)} texts, {len(missing)} without a translation")
        for text in missing:
            print(f"  {text!r}")


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    django.setup()
    main()
