"""What of a repository on the hub makes a model, and where each file is. It speaks to the hub by the guarded client."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants

from gateway.http import http_fetch
from gateway.importing.files import INDEX, SUFFIX, ImportFailed

HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(/[\w./-]+\.safetensors)?$")
DESCRIPTION_BYTES_MAX = 8 << 20
TIMEOUT_S = 30.0
_TAKEN = ("*.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")
_VARIANTS = (".fp16", ".bf16", ".non_ema")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file: its name in the repository, its size, and its digest where the hub states one."""

    name: str
    size_bytes: int
    sha256: str
    url: str


@dataclass(frozen=True, slots=True)
class HubModel:
    """`files` are what is to be fetched; `single` names the one weight file when it is no folder."""

    commit: str
    files: tuple[HubFile, ...]
    variant: str = ""
    single: str = ""


def hub_model(asked: str, *, revision: str) -> HubModel:
    """`owner/name`, or `owner/name/file.safetensors`. Raises ImportFailed, FetchFailed, AddressRefused."""
    owner, name, *rest = asked.split("/", 2)
    wanted = rest[0] if rest else ""
    told = _describe(f"{owner}/{name}", revision or "main")
    commit = str(told.get("sha") or revision or "main")
    files = [_file(f"{owner}/{name}", commit, entry) for entry in told.get("siblings", [])]
    if not wanted and not any(file.name == INDEX for file in files):
        top = [file.name for file in files if file.name.endswith(SUFFIX) and "/" not in file.name]
        if len(top) != 1:
            listed = ", ".join(top[:5]) or f"no {SUFFIX} file"
            raise ImportFailed(f"{asked} is no diffusers folder: name one of its files ({listed}).")
        wanted = top[0]
    if wanted:
        chosen = [file for file in files if file.name == wanted]
        if not chosen:
            raise ImportFailed(f"{owner}/{name} has no file {wanted}.")
        return HubModel(commit, tuple(chosen), single=wanted)
    return _folder(asked, commit, files)


def _describe(repository: str, revision: str) -> dict[str, Any]:
    url = f"{constants.ENDPOINT}/api/models/{quote(repository)}/revision/{quote(revision, safe='')}?blobs=true"
    body = http_fetch(url, max_bytes=DESCRIPTION_BYTES_MAX, timeout_s=TIMEOUT_S, accept="application/json").body
    try:
        told = json.loads(body)
    except ValueError:
        raise ImportFailed(f"The hub's description of {repository} is no JSON.") from None
    if not isinstance(told, dict):
        raise ImportFailed(f"The hub's description of {repository} is no object.")
    return told


def _file(repository: str, commit: str, entry: dict[str, Any]) -> HubFile:
    name, lfs = str(entry["rfilename"]), entry.get("lfs") or {}
    if name.startswith("/") or ".." in name.split("/"):
        raise ImportFailed(f"The hub names a file {name!r}.")
    url = f"{constants.ENDPOINT}/{quote(repository)}/resolve/{quote(commit, safe='')}/{quote(name)}"
    size_bytes = int(lfs.get("size") or entry.get("size") or 0)
    return HubFile(name, size_bytes, str(lfs.get("sha256") or ""), url)


def _folder(asked: str, commit: str, files: list[HubFile]) -> HubModel:
    """The plain weights of each component; where one has only half-precision weights, all of theirs."""
    taken = [file for file in files if any(fnmatch(file.name, pattern) for pattern in _TAKEN)]
    taken = [file for file in taken if "/" not in file.name or file.name.count("/") == 1]
    weights = [file for file in taken if file.name.endswith(SUFFIX) and "/" in file.name]
    if not weights:
        raise ImportFailed(f"{asked} has no {SUFFIX} weights: pickled ones are not taken.")
    plain = [file for file in weights if not any(part in file.name for part in _VARIANTS)]
    half = [file for file in weights if ".fp16" in file.name]
    components = {file.name.split("/")[0] for file in weights}
    use_half = bool(components - {file.name.split("/")[0] for file in plain}) and bool(half)
    chosen = half if use_half else plain
    rest = [file for file in taken if not file.name.endswith(SUFFIX)]
    return HubModel(commit, tuple([*rest, *chosen]), variant="fp16" if use_half else "")
