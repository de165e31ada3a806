"""What people would read of a template, of a view or of a script that no translation covers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from django.template.base import Lexer, TokenType

# Shown or read out; other attributes are for machines.
_ATTRIBUTE = re.compile(r'\b(?:aria-label|title|placeholder|alt|data-confirm|data-label)="([^"]*)"')
_TAG = re.compile(r"""<(?:[^"'<>]|"[^"]*"|'[^']*')*>""", re.DOTALL)
_UNREAD = re.compile(r"<(code|script|pre|style|svg)\b.*?</\1>", re.DOTALL)
_DOCTYPE = re.compile(r"<!doctype html>", re.IGNORECASE)
# Words given to a component or used where a value is empty.
_GIVEN = re.compile(r"""\b(?:title|text|label|lead|note|what|action_label|unit)=(?:"([^"]*)"|'([^']*)')""")
_DEFAULT = re.compile(r"""\bdefault:(?:"([^"]*)"|'([^']*)')""")
_FOR_MACHINES = frozenset({"en", "frame", "system"})
_WORD = re.compile(r"[^\W\d_]{2,}")
# The same in every language.
_UNIVERSAL = re.compile(
    r"https?://\S*|\.env\b|\b(?:API|CSV|FOCUS|JSON|LoRA|PDF|POST|SVG|UTC|ZIP|Shell|cURL|px|webhook-id|string|model_id)\b"
    r"|\b(?:pricing\.json|pricing\.md|[0-9]+x[0-9]+|p50|p95)\b|&\w+;"
)


def of_template(source: str) -> list[str]:
    """Bare texts in their order."""
    html, found, covered = "", [], 0
    for token in Lexer(source).tokenize():
        word = token.contents.split(maxsplit=1)[0] if token.contents.strip() else ""
        if token.token_type == TokenType.BLOCK and word in ("blocktranslate", "comment"):
            covered += 1
        elif token.token_type == TokenType.BLOCK and word in ("endblocktranslate", "endcomment"):
            covered -= 1
        elif covered:
            continue
        elif token.token_type == TokenType.TEXT:
            html += token.contents
        elif token.token_type in (TokenType.BLOCK, TokenType.VAR):
            html += " "
            patterns = (_GIVEN, _DEFAULT) if word in ("component", "include") else (_DEFAULT,)
            given = [one or other for pattern in patterns for one, other in pattern.findall(token.contents)]
            found += [text for text in given if has_words(text) and text not in _FOR_MACHINES]
    html = _UNREAD.sub(" ", _DOCTYPE.sub("", html))
    found += [text for text in _ATTRIBUTE.findall(html) if has_words(text)]
    found += [text.strip() for text in _TAG.split(html) if has_words(text)]
    return found


def has_words(text: str) -> bool:
    return bool(_WORD.search(_UNIVERSAL.sub(" ", text)))


def of_module(path: Path) -> list[str]:
    """Texts that a view or a form gives to people as they are: notes, labels, helps and faults."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = [keyword.value for keyword in node.keywords if keyword.arg in ("label", "help_text")]
        if name in ("messages.success", "messages.error", "messages.info", "messages.warning"):
            given += node.args[1:]
        if name == "ValidationError":
            given += node.args[:1]
        found += [ast.unparse(value) for value in given if _is_bare(value)]
    return found


def _is_bare(value: ast.expr) -> bool:
    if isinstance(value, ast.IfExp):
        return _is_bare(value.body) or _is_bare(value.orelse)
    return isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and has_words(str(value.value)))


_SHOWN_BY_SCRIPT = re.compile(r"""(?:announce\(|textContent[:=] ?|"aria-label", ?|confirmed\()["`]([^"`]*)""")
_SAID = re.compile(r"""say\((?:[^"()]|\([^()]*\))*?"((?:[^"\\]|\\.)*)"(?: : "((?:[^"\\]|\\.)*)")?""")


def of_script(source: str) -> list[str]:
    """Texts that a module shows without looking them up."""
    return [text for text in _SHOWN_BY_SCRIPT.findall(source) if has_words(re.sub(r"\$\{.*", " ", text))]


def said_by_script(source: str) -> set[str]:
    """What a module looks up."""
    return {text for pair in _SAID.findall(source) for text in pair if text}
