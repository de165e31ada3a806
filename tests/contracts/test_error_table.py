"""Every domain exception has its one row in the API's table, and every code its paragraph in docs/errors.md."""

import importlib
import inspect
import re
import string

import pytest

from accounts.errors import DomainError
from gateway.api.errors import ERRORS, answer_to, error_body

MODULES = ("accounts.errors", "billing.errors", "gateway.errors", "inference.errors", "gateway.api.refusals")
STATUSES = {400, 401, 402, 403, 404, 405, 409, 413, 429, 500, 502, 503}


def exceptions():
    for name in MODULES:
        module = importlib.import_module(name)
        for kind in vars(module).values():
            own = inspect.isclass(kind) and issubclass(kind, DomainError) and kind.__module__ == name
            if own and kind is not DomainError:
                yield kind


def made(kind):
    """The exception with something in each field that its text names, and in those that the table shows."""
    named = {name for _, name, _, _ in string.Formatter().parse(kind.__doc__) if name}
    return kind(**{name: f"<{name}>" for name in named | set(answer_to(kind(**dict.fromkeys(named, 1))).shows)})


def test_the_table_has_a_row_for_every_exception_and_for_nothing_else():
    assert set(ERRORS) == set(exceptions())


@pytest.mark.parametrize("kind", tuple(exceptions()), ids=lambda kind: kind.__name__)
def test_each_error_has_a_status_a_code_and_both_spellings_of_its_message(kind):
    problem = made(kind)
    body = error_body(problem, request_id="req_1")
    answer = ERRORS[kind]
    assert answer.status in STATUSES
    assert body["status"] == "error"
    assert body["message"] == body["messege"] != ""
    assert body["code"] == (kind.code if answer.status != 500 else "internal_error")
    assert body["request_id"] == "req_1"


def test_codes_are_stable_names_and_each_belongs_to_one_exception():
    codes = [kind.code for kind in exceptions()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", code) for code in codes)


def test_an_exception_that_the_table_does_not_know_is_our_own_fault():
    class Unheard(DomainError):
        """A wallet of {secret}."""

    body = error_body(Unheard(secret="42"), request_id="")
    assert answer_to(Unheard(secret="42")).status == 500
    assert "42" not in body["message"]


def test_every_code_is_explained_in_the_error_catalogue(project_folder):
    explained = set(re.findall(r"^\| `([a-z0-9_]+)` \|", (project_folder / "docs/errors.md").read_text(), re.MULTILINE))
    assert {kind.code for kind in exceptions()} <= explained
