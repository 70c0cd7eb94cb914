"""Documents that partkit keeps from one command to the next: profiles and clusters that it measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from partkit.data.document import Document
from partkit.data.profile import Profile
from partkit.errors import FormatError

_AnyDocument = TypeVar("_AnyDocument", bound=Document)


def kept_path(name: str) -> Path:
    """Where the document of that name is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "partkit" / name


def find_kept(document: type[_AnyDocument], name: str) -> _AnyDocument | None:
    """The document kept under ``name``, if this machine has it."""
    path = kept_path(name)
    if not path.is_file():
        return None
    try:
        return document.load(path)
    except FormatError:  # written by another version of partkit: as good as absent
        return None


def keep_profile(profile: Profile) -> Path:
    """Keep a profile under its digest, which plans name."""
    return profile.save(_profile_path(profile.sha256))


def find_profile(sha256: str) -> Profile | None:
    """The kept profile with this digest, if this machine has it."""
    return find_kept(Profile, _profile_path(sha256).name)


def _profile_path(sha256: str) -> Path:
    return kept_path(f"profile-{sha256[:24]}.json")
