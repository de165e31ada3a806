"""Files in an S3-compatible store (AWS, R2, Garage, SeaweedFS).

`s3://bucket?endpoint=https://...&region=...`; the credentials come from the environment as boto3 reads them
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), so that the URL may be printed. Further options:
`public_url` - where the bucket is readable for everybody (a CDN): links of kept pictures then go there;
`deliver` - `redirect` (the default: our address answers with a short-lived link into the store) or `proxy` (we pass
the bytes on, for a store that clients cannot reach).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from inference.storage.base import SWEEP_FILES_MAX, StoredFile
from inference.storage.keys import TEMPORARY, FileMissing, expiry_epoch_s, is_preview, key_checked

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30
CONNECTIONS_MAX = 32
DELETED_AT_ONCE_MAX = 1_000  # DeleteObjects takes no more
YEAR_S = 31_536_000
OPTIONS = ("endpoint", "region", "public_url", "deliver")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Address:
    bucket: str
    endpoint: str | None = None
    region: str | None = None
    public_url: str | None = None
    deliver: str = "redirect"

    @classmethod
    def parse(cls, url: str) -> S3Address:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        unknown = sorted(set(options) - set(OPTIONS))
        if not parts.hostname or parts.path.strip("/") or unknown:
            raise ValueError(
                f"STORAGE_URL must look like s3://bucket?endpoint=URL&region=NAME, with the options"
                f" {', '.join(OPTIONS)}; unknown here: {', '.join(unknown) or parts.path or 'the bucket'}"
            )
        if options.get("deliver", "redirect") not in ("redirect", "proxy"):
            raise ValueError(f"STORAGE_URL: deliver must be redirect or proxy, not {options['deliver']}")
        return cls(bucket=parts.hostname, **options)


class S3Storage:
    def __init__(self, address: S3Address) -> None:
        self.address = address
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=address.endpoint,
            region_name=address.region,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"max_attempts": 3, "mode": "standard"},
                max_pool_connections=CONNECTIONS_MAX,
                # A store of one's own seldom has a name per bucket.
                s3={"addressing_style": "path" if address.endpoint else "auto"},
            ),
        )

    def write(self, key: str, data: bytes, content_type: str) -> None:
        self._client.put_object(
            Bucket=self.address.bucket,
            Key=key_checked(key),
            Body=data,
            ContentType=content_type,
            CacheControl="no-store" if is_preview(key) else f"public, max-age={YEAR_S}, immutable",
        )

    def read(self, key: str) -> bytes:
        with _missing(key):
            answer = self._client.get_object(Bucket=self.address.bucket, Key=key_checked(key))
            data: bytes = answer["Body"].read()
            return data

    def open(self, key: str) -> StoredFile:
        """Whole in memory: a picture is small, and a connection to the store must not wait for a slow client."""
        with _missing(key):
            answer = self._client.get_object(Bucket=self.address.bucket, Key=key_checked(key))
            data = answer["Body"].read()
        modified: datetime = answer["LastModified"]
        return StoredFile(body=io.BytesIO(data), size_bytes=len(data), modified_epoch_s=modified.timestamp())

    def exists(self, key: str) -> bool:
        try:
            with _missing(key):
                self._client.head_object(Bucket=self.address.bucket, Key=key_checked(key))
        except FileMissing:
            return False
        return True

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.address.bucket, Key=key_checked(key))

    def move(self, key: str, to: str) -> None:
        """A copy inside the store, then the end of the first: whoever is killed between the two leaves both."""
        source = {"Bucket": self.address.bucket, "Key": key_checked(key)}
        try:
            with _missing(key):
                self._client.copy_object(Bucket=self.address.bucket, Key=key_checked(to), CopySource=source)
        except FileMissing:
            return
        self.delete(key)

    def url(self, key: str) -> str:
        """A temporary file is always found through us: a link into the store would outlive its 24 hours."""
        if self.address.public_url and expiry_epoch_s(key) is None:
            return f"{self.address.public_url.rstrip('/')}/{key_checked(key)}"
        return f"/media/{key_checked(key)}"

    def presign(self, key: str, *, expires_s: int) -> str | None:
        if self.address.deliver == "proxy":
            return None
        link: str = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self.address.bucket, "Key": key_checked(key)}, ExpiresIn=expires_s
        )
        return link

    def sweep(self, now: datetime, limit: int = SWEEP_FILES_MAX) -> int:
        """The store lists in the order of names, and a temporary name begins with its expiry: oldest first."""
        page = self._client.list_objects_v2(
            Bucket=self.address.bucket, Prefix=f"{TEMPORARY}/", MaxKeys=min(limit, DELETED_AT_ONCE_MAX)
        )
        keys = [item["Key"] for item in page.get("Contents", [])]
        dead = [key for key in keys if (expiry_epoch_s(key) or 0) <= now.timestamp()]
        if dead:
            self._client.delete_objects(
                Bucket=self.address.bucket, Delete={"Objects": [{"Key": key} for key in dead], "Quiet": True}
            )
        return len(dead)


@contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as problem:
        if problem.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            raise FileMissing(key) from None
        raise
