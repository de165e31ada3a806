"""Which language an answer speaks: the words that the scripts of a page say, and the answers that are English whatever
the reader asked for, because programs read them or because they are the operator's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.http import HttpResponseBase
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)

# What static/js says through speech.js, by the module's file where it is not on every page. A test compares.
SITE = (
    _("Go to the search field"),
    _("Generate, in the playground and in compare mode"),
    _("Cancel the call that runs; close a dialog or a menu"),
    _("Move the reading of a chart, or between tabs of code"),
    _("Choose a span of a chart and show it alone"),
    _("Show this"),
    _("Ctrl + Enter"),
    _("Shift + {keys}, Enter"),
    _("Keyboard"),
    _("Close"),
    _("Cancel"),
    _("Go on"),
    _("Please confirm"),
    _("Copied"),
    _("Copying failed: select the text instead"),
    _("You have not copied the key, and it is not shown again. Press once more to leave."),
    _("{count} steps chosen. Enter shows them."),
    _("Theme: {name}"),
    _(
        "Passkeys need a domain name: at a bare IP address no browser offers them. On your own machine, open the site"
        " at localhost."
    ),
    _("Passkeys need an address with https."),
    _("No passkey was used: it was cancelled, or took too long."),
    _("This device is added already."),
    _("The passkey could not be used."),
)
PLAYGROUND = (
    _("Not in the list: press Enter to look it up."),
    _("Left out."),
    _("Waiting for a place in your queue"),
    _("Sending"),
    _("Cancelled."),
    _("Nothing was charged."),
    _("seed {seed}"),
    _("All columns have ended"),
    _("Included in {plan}, without a limit."),
    _("One of your plan's calls: {left} of {limit} left after it."),
    _("A free call: {left} of {limit} left after it."),
    _("Invoiced at the end of the month."),
    _("{plan} has no call left: add funds or take a plan."),
    _("Your funds are {balance}: it needs {missing} more."),
    _("From funds: {after} left after it."),
    _("{count} of {limit} characters."),
    _("Reset"),
    _("Reset {field}"),
    _("Settings recalled"),
    _("The picture is the input now"),
    _("This call was cancelled."),
    _("{count} pictures made in {span}"),
    _("One picture made in {span}"),
    _("The service could not be reached."),
    _("The service could not answer ({status})."),
    _("{seconds} s so far"),
    _("About {seconds} s to go"),
    _("In the queue, {count} before it"),
    _("In the queue"),
    _("Starting: the model is loaded if it is not"),
    _("Saving"),
    _("Rendering"),
    _("Step {step} of {steps}"),
    _("Copying failed: open the picture instead"),
    _("Make a link? Whoever has it sees these pictures with their prompt and settings, until you revoke it."),
    _("Make the link"),
    _("Shared link"),
    _("The link is made and copied. The gallery lists it under shared links."),
    _("Delete"),
    _("Deleted, for good in a week."),
    _("Undo"),
    _("Undo the deletion of this call"),
    _("Deleted. Undo stands in its place."),
    _("It is back"),
    _("The picture"),
    _("Open the picture alone"),
    _("filtered by the safety checker"),
    _("Download"),
    _("Recall"),
    _("Recall all settings of this picture, seed {seed}"),
    _("Vary"),
    _("Recall the settings of this picture, seed {seed}, with another seed"),
    _("Use as input"),
    _("Use this picture, seed {seed}, as input"),
    _("Upscale"),
    _("Upscale this picture, seed {seed}"),
    _("Copy address"),
    _("Copy the address of this picture, seed {seed}"),
    _("Copy base64"),
    _("Copy this picture, seed {seed}, as base64"),
    _("Share"),
    _("Share the call of this picture, seed {seed}, by a link"),
    _("Delete the call of this picture, seed {seed}"),
    _("Details"),
    _("Code {code}"),
    _("request {id}"),
    _("Try again"),
    _("Try the same call again"),
    _("The mask is empty"),
    _("Picture pasted"),
    _("{name} is no picture that can be read here: choose PNG, JPEG, WebP, GIF or BMP."),
    _("There is no picture at this address."),
)
SCRIPTS = {"site": SITE, "playground": SITE + PLAYGROUND}


def script_words(scripts: str) -> dict[str, str]:
    """The English texts of these scripts with those of the reader's language; empty where that is English."""
    spoken = translation.get_language() or "en"
    return {} if spoken == "en" else {text: gettext(text) for text in SCRIPTS[scripts]}


def english(view: Callable[P, R]) -> Callable[P, R]:
    """A view that answers in English whatever the reader's language is."""

    @functools.wraps(view)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with translation.override("en"):
            response = view(*args, **kwargs)
        response.headers.setdefault("Content-Language", "en")
        return response

    return inner
