"""Where pictures are kept. Known to the web, the worker and the render worker, so it needs the environment alone:
no settings module, no database.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from inference.storage.base import Storage, StoredFile
from inference.storage.files import FileStorage
from inference.storage.keys import (
    FileMissing,
    KeyRefused,
    content_type_of,
    deleted_key,
    expiry_epoch_s,
    input_key,
    is_preview,
    is_served,
    key_checked,
    output_key,
    preview_key,
)

__all__ = [
    "FileMissing",
    "FileStorage",
    "KeyRefused",
    "Storage",
    "StoredFile",
    "content_type_of",
    "deleted_key",
    "expiry_epoch_s",
    "get_storage",
    "input_key",
    "is_preview",
    "is_served",
    "key_checked",
    "output_key",
    "preview_key",
]

PROJECT = Path(__file__).resolve().parent.parent.parent


def get_storage() -> Storage:
    """The store that STORAGE_URL names now; without it, files beside the service's other run-time files."""
    return storage_at(os.environ.get("STORAGE_URL") or f"file://{os.environ.get('RUN_DIR') or PROJECT / '.run'}/media")


@functools.cache
def storage_at(url: str) -> Storage:
    """`file:///folder` or `s3://bucket?endpoint=...&region=...` (see s3.py). One client per URL and process."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.strip("/"):
        return FileStorage(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        # boto3 takes a tenth of a second and 20 MB: only those who use it pay.
        from inference.storage.s3 import S3Address, S3Storage

        return S3Storage(S3Address.parse(url))
    raise ValueError(f"STORAGE_URL must begin with file:/// or s3://, not {parts.scheme}://{parts.netloc}")
