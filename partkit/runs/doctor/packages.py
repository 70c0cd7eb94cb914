"""Packages: whether each can be imported, fits the others, and is the one that it seems to be."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from partkit.data.examination import Check
from partkit.runs.doctor.imports import Imported, try_imports
from partkit.runs.doctor.looked_at import LookedAt, Writer

NEEDED: Mapping[str, str] = {
    "numpy": "numpy",
    "scipy": "scipy",
    "networkx": "networkx",
    "psutil": "psutil",
    "pynvml": "nvidia-ml-py",
    "torch": "torch",
    "safetensors": "safetensors",
    "transformers": "transformers",
}
"""What partkit cannot do without: the distribution by the name that is imported."""
OPTIONAL: Mapping[str, str] = {
    "torchvision": "torchvision",
    "timm": "timm",
    "accelerate": "accelerate",
    "deepspeed": "deepspeed",
}
"""What some models and executors need, where it is installed."""
_USED_BY = {
    "torchvision": "models of timm and transformers that work on images",
    "timm": "models named timm:NAME",
    "accelerate": "the executor accelerate",
    "deepspeed": "the executors deepspeed and deepspeed-inject",
}
_UNDECLARED = "operator torchvision::"
"""What torchvision's import says where its compiled operators do not fit torch."""

_WRITE = Writer("packages")


def packages(seen: LookedAt) -> Iterator[Check]:
    """Import everything, then compare versions with what each package asks for."""
    present = [name for name in OPTIONAL if _is_present(name)]
    seen.imports = try_imports([*NEEDED, *present])
    yield _WRITE.ok("python", f"{platform.python_version()} at {sys.executable}")
    for name, distribution in NEEDED.items():
        check = _needed(name, distribution, seen.imports.by_name[name])
        seen.is_broken |= check.status == "broken"
        yield check
    for name in OPTIONAL:
        if name in present:
            yield _optional(name, seen.imports.by_name[name])
        else:
            yield _WRITE.ok(name, f"not installed; {_USED_BY[name]} would need it")
    yield from nvml_binding()


def _needed(name: str, distribution: str, imported: Imported) -> Check:
    version = _version(distribution)
    if imported.is_missing:
        return _WRITE.broken(name, f"{distribution} is not installed", f"pip install {distribution}")
    if imported.fault is not None:
        return _WRITE.broken(name, f"{distribution} {version} cannot be imported: {imported.fault}", _look(name))
    unmet = _unmet("partkit", distribution)
    if unmet is not None:
        return _WRITE.warning(name, f"{version}, and partkit asks for {unmet}", f"pip install '{unmet}'")
    return _WRITE.ok(name, version)


def _optional(name: str, imported: Imported) -> Check:
    """torchvision is told apart: beside another torch than its own partkit repairs it, and nobody else does."""
    version, wanted = _version(OPTIONAL[name]), _unmet(name, "torch")
    reinstall = f"reinstall {name} for torch {_version('torch')} from the same index as torch"
    if imported.fault is None:
        if wanted is None:
            return _WRITE.ok(name, version)
        return _WRITE.warning(name, f"{version} asks for {wanted}, and torch is {_version('torch')}", reinstall)
    if name == "torchvision" and _UNDECLARED in imported.fault:
        return _WRITE.warning(
            name,
            f"torchvision {version} does not fit torch {_version('torch')}: {imported.fault}; partkit declares what is "
            "missing when it imports it, so models for classification work, and detection and other programs fail",
            reinstall,
        )
    return _WRITE.broken(
        name,
        f"{name} {version} cannot be imported: {imported.fault}; without it go {_USED_BY[name]}",
        f"{reinstall}, or pip uninstall {name}" if name == "torchvision" else _look(name),
    )


def nvml_binding() -> Iterator[Check]:
    """``pynvml`` is a module of nvidia-ml-py, and was one of a package of that name, which hides it."""
    found = PathFinder.find_spec("pynvml")  # not the one that is imported already
    if found is None or found.origin is None:
        return  # told as a missing package
    other = _version("pynvml")
    files = {str(Path(str(each.locate())).resolve()) for each in _files("nvidia-ml-py") if each.suffix == ".py"}
    if str(Path(found.origin).resolve()) in files:
        beside = f", and the package pynvml {other} beside it hands on to it" if other != "?" else ""
        yield _WRITE.ok("NVML binding", f"nvidia-ml-py {_version('nvidia-ml-py')}{beside}")
        return
    owner = f"the package pynvml {other}" if other != "?" else "something else"
    yield _WRITE.warning(
        "NVML binding",
        f"'import pynvml' finds {found.origin}, of {owner}, and not the module of nvidia-ml-py "
        f"{_version('nvidia-ml-py')}: GPU figures may be missing or wrong",
        "pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py",
    )


def _files(distribution: str) -> list[metadata.PackagePath]:
    try:
        return metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []


def _is_present(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # half a package
        return True


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "?"


def _unmet(package: str, of: str) -> str | None:
    """What ``package`` asks of the distribution ``of`` and does not find, as ``torch==2.11.0``; None: nothing."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    try:
        lines, version = metadata.requires(package) or [], Version(metadata.version(of))
    except (metadata.PackageNotFoundError, InvalidVersion):
        return None
    for line in lines:
        try:
            asked = Requirement(line)
        except InvalidRequirement:
            continue
        counts = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if asked.name == of and counts and not asked.specifier.contains(version, prereleases=True):
            return f"{asked.name}{asked.specifier}"
    return None


def _look(name: str) -> str:
    return f"""'python -c "import {name}"' shows where; reinstall it, or what it imports"""
