"""The secret of a local installation: made once, kept in a file that only its owner can read."""

import os
import secrets
from pathlib import Path


def local_secret(path: Path) -> str:
    """The secret in `path`; made on first use. Two processes that start together agree on one."""
    if not path.exists():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return local_secret(path)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    secret = path.read_text()
    if not secret:  # Another process has created the file and is about to write it.
        return local_secret(path)
    return secret
