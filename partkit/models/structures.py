"""The structures that models take and return: known to torch's pytree, kept within a program, written for later ones.

torch.export takes tensors apart from what holds them by ``torch.utils._pytree``. A dataclass or a transformers cache
that nobody registered there is registered here as it is met; what cannot be is refused by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from partkit.errors import CaptureError

_PLAIN = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool, int, float, complex, bool, str, bytes, type(None))
_CACHES = "transformers.cache_utils"

_known_by_archive: dict[str, pytree.TreeSpec] = {}
"""Structures of the modules that this program has archived, by the archive's name: exact, whatever their classes."""


@dataclass(frozen=True)
class LostStructure:
    """Outputs whose classes this program has not imported: they come as a flat tuple."""

    classes: str
    paths: tuple[str, ...]
    """Of each leaf in the structure, for people."""


# --- making classes known -----------------------------------------------------------------------------------


def register_classes(tree: object, what: str) -> None:
    """Make every class in ``tree`` known to pytree. Raises :class:`CaptureError` for one that cannot be.

    ``what`` says whose it is: ``the Net returns``.
    """
    while True:
        unknown = [leaf for leaf in pytree.tree_leaves(tree) if _is_unknown(leaf)]
        if not unknown:
            return
        for cls in dict.fromkeys(map(type, unknown)):
            if cls not in pytree.SUPPORTED_NODES:
                _register(cls, what)


def registering_outputs(what: str) -> Callable[[torch.nn.Module, Any, Any], None]:
    """A forward hook that does so for what a module returns while it is exported."""
    return lambda _module, _inputs, outputs: register_classes(outputs, what)


def _is_unknown(leaf: object) -> bool:
    return not isinstance(leaf, (*_PLAIN, torch.dtype, torch.device)) and (
        dataclasses.is_dataclass(leaf) or type(leaf).__module__ == _CACHES or _holds_tensors(leaf)
    )


def _holds_tensors(leaf: object) -> bool:
    """True for a container or object with tensors in it, which a graph would take for one constant."""
    inside = leaf if isinstance(leaf, set | frozenset) else vars(leaf).values() if hasattr(leaf, "__dict__") else ()
    return any(isinstance(each, torch.Tensor) for each in inside)


def _register(cls: type, what: str) -> None:
    if cls.__module__ == _CACHES and cls.__name__ == "DynamicCache":
        from transformers.integrations.executorch import register_dynamic_cache_export_support

        register_dynamic_cache_export_support()
        return
    if dataclasses.is_dataclass(cls) and all(field.init for field in dataclasses.fields(cls)):
        torch.export.register_dataclass(cls, serialized_type_name=_name_of(cls))
        return
    raise CaptureError(
        f"{what} a {_name_of(cls)}, and nothing says how to take its tensors out and put them back",
        hint=f"register it with torch.utils._pytree.register_pytree_node({cls.__name__}, ...), or use a dataclass, "
        "tuple, list or dict",
    )


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# --- a structure as text, and back --------------------------------------------------------------------------


def describe_structure(spec: pytree.TreeSpec) -> dict[str, Any]:
    """The structure as JSON data, for whoever knows its classes; for others the classes and the leaves' paths."""
    for cls in _classes_in(spec):
        if pytree.is_namedtuple_class(cls) and cls not in pytree.SUPPORTED_SERIALIZED_TYPES:
            pytree._register_namedtuple(cls, serialized_type_name=_name_of(cls))
    try:
        told: str | None = pytree.treespec_dumps(spec)
        if pytree.treespec_loads(told) != spec:
            told = None  # a key that JSON cannot hold: a tuple, say
    except (NotImplementedError, TypeError):  # registered without a name, or with a context that is no JSON
        told = None
    classes = ", ".join(_name_of(cls) for cls in _classes_in(spec) if cls.__module__ not in ("builtins", "collections"))
    return {"structure": told, "classes": classes, "paths": leaf_paths(spec)}


def read_structure(data: Mapping[str, Any]) -> pytree.TreeSpec | LostStructure:
    """What :func:`describe_structure` told. Classes are looked up among those imported: nothing is imported for it."""
    if data["structure"] is not None:
        _register_named(json.loads(data["structure"])[1])
        with contextlib.suppress(NotImplementedError):
            return pytree.treespec_loads(data["structure"])
    return LostStructure(data["classes"], tuple(data["paths"]))


def remember_structure(archive: str, spec: pytree.TreeSpec) -> None:
    """Keep the structure of an archived module's outputs for this program."""
    _known_by_archive[archive] = spec


def remembered_structure(archive: str) -> pytree.TreeSpec | None:
    """The structure of a module that this program has archived."""
    return _known_by_archive.get(archive)


def leaf_paths(spec: pytree.TreeSpec) -> list[str]:
    """The place of each leaf in the structure: ``logits``, ``hidden.0``, or ``output`` for one by itself."""
    return [".".join(path) or "output" for path in _paths(spec)]


def _paths(spec: pytree.TreeSpec) -> Iterator[tuple[str, ...]]:
    if spec.is_leaf():
        yield ()
    for key, child in zip(_keys(spec), spec.children(), strict=True):
        yield from ((key, *rest) for rest in _paths(child))


def _keys(spec: pytree.TreeSpec) -> Iterable[str]:
    """What a structure calls its children: fields and keys by their names, others by number."""
    context, count = spec.context, spec.num_children
    named = context._fields if pytree.is_namedtuple_class(context) else context
    for keys in (named, *(named if isinstance(named, list | tuple) else ())):
        if isinstance(keys, list | tuple) and len(keys) == count and all(isinstance(k, str | int) for k in keys):
            return map(str, keys)
    return map(str, range(count))


def _classes_in(spec: pytree.TreeSpec) -> Iterator[type]:
    if spec.type is not None:
        yield spec.context if pytree.is_namedtuple_class(spec.context) else spec.type
    for child in spec.children():
        yield from _classes_in(child)


def _register_named(schema: dict[str, Any]) -> None:
    """Register the classes that a structure names and this program has imported."""
    for name in (schema["type"], schema["context"]):
        if isinstance(name, str) and name not in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE:
            cls = _find_class(name)
            if cls is not None and pytree.is_namedtuple_class(cls):
                pytree._register_namedtuple(cls, serialized_type_name=name)
            elif cls is not None and _only_holds(cls) and cls not in pytree.SUPPORTED_NODES:
                torch.export.register_dataclass(cls, serialized_type_name=name)
    for child in schema["children_spec"]:
        _register_named(child)


def _only_holds(cls: type) -> bool:
    """True for a dataclass that runs nothing of its own when it is made: a file may name any that is imported."""
    return (
        dataclasses.is_dataclass(cls)
        and cls.__init__.__code__.co_filename == "<string>"  # written by dataclasses
        and not hasattr(cls, "__post_init__")
        and (cls.__new__, type(cls)) == (object.__new__, type)
    )


def _find_class(name: str) -> type | None:
    module, _, rest = name.rpartition(".")
    while module:
        if module in sys.modules:
            found: Any = sys.modules[module]
            for part in rest.split("."):
                found = getattr(found, "__dict__", {}).get(part)  # not getattr, which may import
            return found if isinstance(found, type) else None
        module, _, head = module.rpartition(".")
        rest = f"{head}.{rest}"
    return None
