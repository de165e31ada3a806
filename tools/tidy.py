"""Refuses what should never be committed: stray whitespace, very large files, private keys. For the pre-commit hook."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tools.problems import exit_with_sentence

FILE_BYTES_MAX = 1024 * 1024
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
STRAY_WHITESPACE = re.compile(rb"[ \t]+$", re.MULTILINE)


def faults(name: str, content: bytes) -> list[str]:
    """What is wrong with one text file, in words."""
    found = []
    if len(content) > FILE_BYTES_MAX:
        found.append(f"{name} has {len(content)} bytes; the most is {FILE_BYTES_MAX}")
    if PRIVATE_KEY.search(content):
        found.append(f"{name} holds a private key")
    stray = STRAY_WHITESPACE.search(content)
    if stray:
        line = content.count(b"\n", 0, stray.start()) + 1
        found.append(f"{name}:{line} ends in whitespace")
    if content and not content.endswith(b"\n"):
        found.append(f"{name} does not end with a newline")
    return found


def main() -> int:
    found = [fault for name in sys.argv[1:] for fault in faults(name, Path(name).read_bytes())]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(exit_with_sentence(main))
