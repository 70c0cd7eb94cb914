"""Documents that partkit keeps from one command to the next: profiles and clusters that it measured.

What is kept is used only where it is what was asked for: a profile under its digest has that digest, and what is kept
under a request holds the request and its own digest. Whatever else is found there is as good as absent.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from partkit.data.document import Document, digest
from partkit.data.profile import Profile
from partkit.data.reading import read_json
from partkit.data.writing import write_text_atomically
from partkit.errors import CacheWarning, FormatError

_AnyDocument = TypeVar("_AnyDocument", bound=Document)


def cache_folder(name: str = "") -> Path:
    """The folder that partkit keeps things in, or one within it: made if need be, and nobody else's to read."""
    for folder in (_folder(), _folder() / name):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)
    return folder


def find_kept(document: type[_AnyDocument], request: Mapping[str, Any]) -> _AnyDocument | None:
    """The document that was kept for exactly this request (JSON data), if this machine has it, whole."""
    path = _request_path(document, request)
    try:
        kept = read_json(path)
        data = kept["document"]
        if kept["request"] != json.loads(json.dumps(request)) or kept["sha256"] != digest(data):
            return None
        return document.from_data(data, where=str(path))
    except (FormatError, TypeError, KeyError):  # damaged, or written by another version of partkit
        return None


def keep(document: Document, request: Mapping[str, Any]) -> None:
    """Keep a document for who asks the same again; warns where that cannot be."""
    data = document.to_data()
    text = json.dumps({"request": request, "sha256": digest(data), "document": data}, indent=2, ensure_ascii=False)
    with _warned():
        cache_folder()
        write_text_atomically(_request_path(type(document), request), text + "\n")


def keep_profile(profile: Profile) -> None:
    """Keep a profile under its digest, which plans name; warns where that cannot be."""
    with _warned():
        cache_folder()
        profile.save(_profile_path(profile.sha256))


@contextlib.contextmanager
def _warned() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"nothing is kept for later commands: {error.filename}: {error.strerror}"
        warnings.warn(text, CacheWarning, stacklevel=4)


def find_profile(sha256: str) -> Profile | None:
    """The kept profile with this digest, if this machine has it."""
    try:
        profile = Profile.load(_profile_path(sha256))
    except FormatError:
        return None
    return profile if profile.sha256 == sha256 else None


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "partkit"


def _profile_path(sha256: str) -> Path:
    return _folder() / f"profile-{sha256[:24]}.json"


def _request_path(document: type[Document], request: Mapping[str, Any]) -> Path:
    return _folder() / f"kept-{document.model_fields['kind'].default}-{digest(request)[:24]}.json"
