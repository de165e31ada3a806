"""The life of an import: begun by staff, run by the worker one at a time, begun again when its process was lost."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.errors import DomainError
from accounts.models import User
from gateway.http import http_download
from gateway.http.addresses import url_checked
from gateway.importing.files import (
    SUFFIX,
    ImportFailed,
    folder_weights,
    inside,
    model_folder,
    safe_name,
    sha256_of,
    weights_checked,
)
from gateway.importing.hub import HUB_ID, hub_model
from gateway.models import ImportKind, ImportState, ModelImport
from inference.models import ImageModel

FOLDER = "imports"
# Longer than the largest allowed file takes on a slow line; a stalled server holds one thread no longer than this.
TIMEOUT_S = 3 * 3600.0
LOST_AFTER = timedelta(minutes=10)
TOLD_EVERY_S = 1.0
ROOM_LEFT_BYTES = 1 << 30

logger = logging.getLogger(__name__)


class ImportRefused(Exception):
    """What is wrong with what was asked, before anything was begun. Its argument is the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def import_begin(
    *,
    kind: str,
    asked: str,
    family: str,
    row: dict[str, Any],
    by: User,
    now: datetime,
    revision: str = "",
    sha256: str = "",
) -> ModelImport:
    """Note an import; the worker takes it. Raises ImportRefused for what can be told without looking further."""
    if ImageModel.objects.filter(model_id=row["model_id"]).exists():
        raise ImportRefused("model_id", f"There is a model {row['model_id']} already.")
    open_ones = ModelImport.objects.filter(state__in=(ImportState.WAITING, ImportState.RUNNING))
    if open_ones.filter(row__model_id=row["model_id"]).exists():
        raise ImportRefused("model_id", f"{row['model_id']} is being imported already.")
    try:
        _asked_checked(kind, asked)
    except (ImportFailed, DomainError) as problem:
        raise ImportRefused("asked", str(problem)) from None
    return ModelImport.objects.create(
        kind=kind,
        asked=asked,
        revision=revision,
        sha256=sha256.lower(),
        family=family,
        row=row,
        made_by=by,
        created_at=now,
    )


def _asked_checked(kind: str, asked: str) -> None:
    if kind in (ImportKind.FOLDER, ImportKind.FILE):
        path = inside(asked)
        if path.is_dir() != (kind == ImportKind.FOLDER):
            raise ImportFailed(f"{asked!r} is a {'folder' if path.is_dir() else 'file'}.")
    if kind == ImportKind.HUB and not HUB_ID.match(asked):
        raise ImportFailed("A hub id is owner/name, or owner/name/file.safetensors.")
    if kind == ImportKind.URL:
        url_checked(asked)
    if kind in (ImportKind.FILE, ImportKind.URL) and not urlsplit(asked).path.endswith(SUFFIX):
        raise ImportFailed(f"Only {SUFFIX} files are taken: other formats can run code when they are read.")


def import_retry(*, model_import: ModelImport) -> bool:
    """Put a failed import back; False when it is not failed any more."""
    failed = ModelImport.objects.filter(pk=model_import.pk, state=ImportState.FAILED)
    return failed.update(state=ImportState.WAITING, problem="", read_bytes=0, total_bytes=None, finished_at=None) == 1


def imports_waiting(now: datetime) -> bool:
    """Whether one could be run now: something waits or was lost, and none is under way."""
    return not _alive(now).exists() and _takeable(now).exists()


def _alive(now: datetime) -> Any:
    return ModelImport.objects.filter(state=ImportState.RUNNING, seen_at__gt=now - LOST_AFTER)


def _takeable(now: datetime) -> Any:
    lost = Q(state=ImportState.RUNNING, seen_at__lte=now - LOST_AFTER)
    return ModelImport.objects.filter(Q(state=ImportState.WAITING) | lost).order_by("pk")


def imports_run() -> int:
    """Run what waits, one after the other; how many ended here."""
    ended = 0
    while (taken := _take(timezone.now())) is not None:
        _run(taken)
        ended += 1
    return ended


@transaction.atomic
def _take(now: datetime) -> ModelImport | None:
    if _alive(now).exists():
        return None
    found: ModelImport | None = _takeable(now).first()
    if found is None:
        return None
    same = ModelImport.objects.filter(pk=found.pk, state=found.state, seen_at=found.seen_at)
    return found if same.update(state=ImportState.RUNNING, seen_at=now, read_bytes=0, problem="") else None


def _run(model_import: ModelImport) -> None:
    progress = Progress(model_import)
    try:
        source, more = HOW[ImportKind(model_import.kind)](model_import, progress)
        _finish(model_import, source, more)
    except (ImportFailed, DomainError, OSError) as problem:
        _fail(model_import, str(problem))
    except Exception as problem:
        logger.exception("Import %s broke", model_import.pk)
        _fail(model_import, f"It broke: {type(problem).__name__}.")


@transaction.atomic
def _finish(model_import: ModelImport, source: str, more: dict[str, Any]) -> None:
    """The catalogue's row, hidden, and the end of the import, together."""
    row = {**model_import.row, **more, "family": model_import.family, "source": source, "published": False}
    ImageModel.objects.get_or_create(model_id=row["model_id"], defaults=row)
    ModelImport.objects.filter(pk=model_import.pk).update(
        state=ImportState.DONE, finished_at=timezone.now(), sha256=model_import.sha256, problem=""
    )


def _fail(model_import: ModelImport, problem: str) -> None:
    ModelImport.objects.filter(pk=model_import.pk).update(
        state=ImportState.FAILED, problem=problem[:300], finished_at=timezone.now()
    )


class Progress:
    """Tells the row every second how much has been read, which also says that its process lives."""

    def __init__(self, model_import: ModelImport) -> None:
        self._rows = ModelImport.objects.filter(pk=model_import.pk)
        self.read_bytes, self._next_s = 0, 0.0

    def total(self, total_bytes: int) -> None:
        self._rows.update(total_bytes=total_bytes, seen_at=timezone.now())

    def add(self, count_bytes: int) -> None:
        self.read_bytes += count_bytes
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + TOLD_EVERY_S
            self._rows.update(read_bytes=self.read_bytes, seen_at=timezone.now())

    def end(self) -> None:
        self._rows.update(read_bytes=self.read_bytes, seen_at=timezone.now())


class _Counted:
    """A file that is written, hashed and told of at once."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file, self._progress, self.digest = file, progress, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._progress.add(len(data))
        return self._file.write(data)


# --- one way for each kind: the source for the catalogue, and more columns of its row ------------------------------


def _from_folder(model_import: ModelImport, progress: Progress) -> tuple[str, dict[str, Any]]:
    paths = folder_weights(inside(model_import.asked))
    _hash_checked(model_import, paths, progress)
    return model_import.asked.strip("/"), {}


def _from_file(model_import: ModelImport, progress: Progress) -> tuple[str, dict[str, Any]]:
    path = inside(model_import.asked)
    weights_checked(path)
    _hash_checked(model_import, [path], progress)
    return model_import.asked, {}


def _hash_checked(model_import: ModelImport, paths: list[Path], progress: Progress) -> None:
    progress.total(sum(path.stat().st_size for path in paths))
    digest = sha256_of(paths, read=progress.add)
    progress.end()
    if model_import.sha256 and model_import.sha256 != digest:
        raise ImportFailed(f"Its SHA-256 is {digest}, not {model_import.sha256}.")
    model_import.sha256 = digest


def _from_url(model_import: ModelImport, progress: Progress) -> tuple[str, dict[str, Any]]:
    name = f"{FOLDER}/{safe_name(model_import.row['model_id'])}{SUFFIX}"
    model_import.sha256 = _download(
        model_import.asked,
        model_folder() / name,
        progress,
        max_bytes=settings.IMPORT_MAX_BYTES,
        sha256=model_import.sha256,
        promised=progress.total,
    )
    progress.end()
    return name, {}


def _from_hub(model_import: ModelImport, progress: Progress) -> tuple[str, dict[str, Any]]:
    found = hub_model(model_import.asked, revision=model_import.revision)
    total_bytes = sum(file.size_bytes for file in found.files)
    if total_bytes > settings.IMPORT_MAX_BYTES:
        raise ImportFailed(f"It has {total_bytes} bytes, more than the allowed {settings.IMPORT_MAX_BYTES}.")
    progress.total(total_bytes)
    name = f"{FOLDER}/{safe_name(model_import.row['model_id'])}"
    if found.single:
        name += SUFFIX
    for file in found.files:
        target = model_folder() / name / file.name if not found.single else model_folder() / name
        left_bytes = settings.IMPORT_MAX_BYTES - progress.read_bytes
        _download(file.url, target, progress, max_bytes=left_bytes, sha256=file.sha256)
    progress.end()
    model_import.sha256 = found.files[0].sha256 if found.single else ""
    return name, {"revision": found.commit[:80], "variant": found.variant}


def _download(
    url: str,
    target: Path,
    progress: Progress,
    *,
    max_bytes: int,
    sha256: str,
    promised: Callable[[int], object] | None = None,
) -> str:
    """Whole, checked and in its place, or not at all; its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.stem}.part{target.suffix}")

    def told(size_bytes: int) -> None:
        _room_checked(size_bytes, target.parent)
        if promised is not None:
            promised(size_bytes)

    try:
        with part.open("wb") as file:
            counted = _Counted(file, progress)
            http_download(url, into=counted, max_bytes=max_bytes, timeout_s=TIMEOUT_S, promised=told)
        digest = counted.digest.hexdigest()
        if sha256 and sha256 != digest:
            raise ImportFailed(f"The SHA-256 of {target.name} is {digest}, not {sha256}.")
        if target.suffix == SUFFIX:
            weights_checked(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return digest


def _room_checked(size_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes + ROOM_LEFT_BYTES > free_bytes:
        raise ImportFailed(f"It has {size_bytes} bytes, and {folder} has {free_bytes} free.")


HOW: dict[ImportKind, Callable[[ModelImport, Progress], tuple[str, dict[str, Any]]]] = {
    ImportKind.FOLDER: _from_folder,
    ImportKind.FILE: _from_file,
    ImportKind.HUB: _from_hub,
    ImportKind.URL: _from_url,
}
