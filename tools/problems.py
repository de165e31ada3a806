"""How the tools say that something is missing or in the way: one sentence for people, a status for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Problem(Exception):
    """Something that the person at the keyboard can mend; the message says what and how."""


def exit_with_sentence(main: Callable[[], int]) -> int:
    """Run `main`; a Problem or Ctrl-C ends it with a sentence and a status instead of a trace."""
    try:
        return main()
    except Problem as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\n{sentence_for(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def sentence_for(error: OSError) -> str:
    place = f" at {error.filename}" if error.filename else ""
    return f"The system refused{place}: {error.strerror or error}."
