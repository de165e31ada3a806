"""The translations of pages and mails: finds what is marked, keeps locale/<language>/LC_MESSAGES/django.po in step, and
compiles it. Pure Python, so that it needs no gettext; the compiled file is checked in (see docs/decisions).

python -m tools.messages            bring the .po files up to date and compile them
"""

from __future__ import annotations

import ast
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("accounts", "billing", "gateway", "inference")
NAMES = frozenset({"_", "gettext", "gettext_lazy", "gettext_noop"})
PLURALS = frozenset({"ngettext", "ngettext_lazy"})
# The docstrings of its subclasses are what pages say of them.
REFUSAL, REFUSALS = "DomainError", "errors.py"
LANGUAGES = ("de",)
# _("text") as a value inside a tag or a variable.
_VALUE = re.compile(r"""\b_\((?:"([^"]*)"|'([^']*)')\)""")

# One text, or its singular and plural.
Message = str | tuple[str, str]


def po_path(language: str) -> Path:
    return ROOT / "locale" / language / "LC_MESSAGES" / "django.po"


def messages_marked() -> dict[Message, list[str]]:
    """Every marked text, with the files that it stands in."""
    found: dict[Message, list[str]] = {}
    for name, texts in (*_of_templates(), *_of_modules()):
        for text in texts:
            places = found.setdefault(text, [])
            if name not in places:
                places.append(name)
    return found


def _of_templates() -> Iterator[tuple[str, list[Message]]]:
    """By Django's own reading of the templates: what it would look up is what is found."""
    from django.template import engines
    from django.template.base import Lexer, TokenType
    from django.templatetags.i18n import BlockTranslateNode, TranslateNode

    engine = engines["django"].engine  # type: ignore[attr-defined]
    for path in sorted((ROOT / "templates").rglob("*.*")):
        name = str(path.relative_to(ROOT / "templates"))
        nodes = engine.get_template(name).nodelist
        texts: list[Message] = []
        for node in nodes.get_nodes_by_type(TranslateNode):
            literal = getattr(node.filter_expression.var, "literal", None)
            if isinstance(literal, str):
                texts.append(literal)
        for node in nodes.get_nodes_by_type(BlockTranslateNode):
            text, _ = node.render_token_list(node.singular)
            texts.append((text, node.render_token_list(node.plural)[0]) if node.plural else text)
        for token in Lexer(path.read_text()).tokenize():
            if token.token_type in (TokenType.BLOCK, TokenType.VAR):
                texts.extend(double or single for double, single in _VALUE.findall(token.contents))
        yield f"templates/{name}", texts


def _of_modules() -> Iterator[tuple[str, list[Message]]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            source = path.read_text()
            if "django.utils.translation" not in source and path.name != REFUSALS:
                continue
            nodes = list(ast.walk(ast.parse(source)))
            texts = [text for node in nodes if isinstance(node, ast.Call) and (text := _text_of(node))]
            if path.name == REFUSALS:
                texts.extend(text for node in nodes if isinstance(node, ast.ClassDef) and (text := _refusal_of(node)))
            yield str(path.relative_to(ROOT)), texts


def _text_of(call: ast.Call) -> Message:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    given = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if name in PLURALS and len(given) > 1:
        return given[0], given[1]
    return given[0] if name in NAMES and given else ""


def _refusal_of(node: ast.ClassDef) -> str:
    is_one = any(isinstance(base, ast.Name) and base.id == REFUSAL for base in node.bases)
    return " ".join((ast.get_docstring(node) or "").split()) if is_one else ""


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
    marked = messages_marked()
    for text in sorted(marked, key=lambda message: message if isinstance(message, str) else message[0]):
        message = known.get(text)
        told = message.string if message and isinstance(message.id, str) == isinstance(text, str) else ""
        updated.add(text, told, locations=[(place, 0) for place in marked[text]])
    return updated


def compiled(catalog: Catalog) -> bytes:
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def is_translated(string: str | tuple[str, ...] | list[str] | None) -> bool:
    return bool(string) and all(string or ())


def main() -> None:
    for language in LANGUAGES:
        catalog = catalog_updated(language)
        path = po_path(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalog, width=120, include_lineno=False, sort_output=True)
        path.with_suffix(".mo").write_bytes(compiled(catalog))
        missing = [message.id for message in catalog if message.id and not is_translated(message.string)]
        print(f"{language}: {len(catalog)} texts, {len(missing)} without a translation")
        for text in missing:
            print(f"  {text!r}")


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    django.setup()
    main()
