"""The input specs of each kind of model, and what ``--batch``, ``--seq`` and ``--input`` change in them; no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError
from partkit.models.sources.base import dynamic_option, named_dimensions

DEFAULT_SEQ = 128
_INPUT = re.compile(r"(?P<name>\w+)=(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?", re.ASCII)
_DTYPES = frozenset(
    "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()  # noqa: SIM905
)


def text_inputs(names: Iterable[str], *, batch: int, seq: int, vocab: int) -> tuple[InputSpec, ...]:
    """Token ids of shape ``batch x seq``, drawn from ``[0, vocab)``, for each name."""
    return tuple(InputSpec(name=name, shape=(batch, seq), dtype="int64", range=(0, vocab)) for name in names)


def image_inputs(name: str, *, batch: int, channels: int, height: int, width: int, dtype: str) -> tuple[InputSpec, ...]:
    """One normally distributed image tensor of shape ``batch x channels x height x width``."""
    return (InputSpec(name=name, shape=(batch, channels, height, width), dtype=dtype),)


def parse_input(text: str, *, dtype: str) -> InputSpec:
    """One ``--input`` value; without a dtype it takes ``dtype``.

    Raises :class:`UsageError` for anything but ``name=1x128`` and ``name=1x128:int64``.

    >>> print(parse_input("input_ids=1x128:int64", dtype="float32"))
    input_ids=1x128:int64
    """
    match = _INPUT.fullmatch(text)
    if match is None:
        raise UsageError(f"--input {text!r} is not an input", hint="write it as input_ids=1x128:int64")
    shape = tuple(int(size) for size in match["shape"].split("x"))
    if 0 in shape:
        raise UsageError(f"--input {text!r} has a dimension of size 0", hint="every dimension is 1 or more")
    if match["dtype"] is not None and match["dtype"] not in _DTYPES:
        raise UsageError(
            f"--input {text!r} names the dtype {match['dtype']!r}", hint=f"known: {', '.join(sorted(_DTYPES))}"
        )
    return InputSpec(name=match["name"], shape=shape, dtype=match["dtype"] or dtype)


def override_inputs(defaults: tuple[InputSpec, ...], texts: Mapping[str, str], *, dtype: str) -> tuple[InputSpec, ...]:
    """The default specs with ``--input`` values (by name) put in their places; further names come last.

    An override without a dtype keeps the default's dtype, and always the default's range.
    """
    changed = []
    for default in defaults:
        text = texts.get(default.name)
        if text is None:
            changed.append(default)
            continue
        override = parse_input(text, dtype=default.dtype)
        changed.append(override.model_copy(update={"range": default.range}))
    known = {default.name for default in defaults}
    return (*changed, *(parse_input(text, dtype=dtype) for name, text in texts.items() if name not in known))


def within_own_ranges(given: tuple[InputSpec, ...], own: Iterable[InputSpec]) -> tuple[InputSpec, ...]:
    """Inputs of a plan with no range wider than the model's own: files of partkit 0.1 have them rounded up.

    >>> ids = InputSpec(name="ids", shape=(1,), dtype="int64", range=(0, 21130))
    >>> within_own_ranges((ids,), (ids.model_copy(update={"range": (0, 21128)}),))[0].range
    (0, 21128)
    """
    own_by_name = {each.name: each.range for each in own}
    return tuple(each.model_copy(update={"range": _common(each.range, own_by_name.get(each.name))}) for each in given)


_Range = tuple[int | float, int | float]


def _common(given: _Range | None, own: _Range | None) -> _Range | None:
    if given is None or own is None:
        return given or own
    low, high = max(given[0], own[0]), min(given[1], own[1])
    return (low, high) if low < high else own


def mark_dynamic(spec: ModelSpec, inputs: tuple[InputSpec, ...], tokens: Iterable[str]) -> tuple[InputSpec, ...]:
    """The inputs with the dimensions that ``--dynamic`` lets vary; their sizes are the largest.

    The first dimension is the batch, and the second of every input in ``tokens`` (or shaped like one) the sequence;
    others are named. Raises :class:`UsageError` where a size has no dimension, several values, or only one value to
    take.
    """
    asked, named = dynamic_option(spec), named_dimensions(spec)
    if not asked and not named:
        return inputs
    for name, labels_by_place in named.items():
        _require_dimensions(spec, name, labels_by_place, inputs)
    token_shapes = {each.shape for each in inputs if each.name in set(tokens)}
    marked = []
    for each in inputs:
        labels = ("batch", "seq") if each.shape in token_shapes and len(each.shape) == 2 else ("batch",)
        places = {str(place): label for place, label in enumerate(labels) if label in asked}
        own = places if each.shape[:1] == inputs[0].shape[:1] else {}
        marked.append(each.model_copy(update={"dynamic": {**own, **named.get(each.name, {})}}))
    for label in dict.fromkeys((*asked, *(label for places in named.values() for label in places.values()))):
        _check_dynamic(spec, label, marked)
    return tuple(marked)


def _require_dimensions(
    spec: ModelSpec, name: str, labels_by_place: Mapping[str, str], inputs: Iterable[InputSpec]
) -> None:
    shapes = {each.name: each.shape for each in inputs}
    for place, label in labels_by_place.items():
        if name not in shapes or int(place) >= len(shapes[name]):
            known = ", ".join(f"{each} of {len(shape)} dimensions" for each, shape in shapes.items())
            raise UsageError(
                f"--dynamic {name}.{place}={label} names no dimension of {spec.source}", hint=f"its inputs are {known}"
            )


def _check_dynamic(spec: ModelSpec, label: str, inputs: Iterable[InputSpec]) -> None:
    sizes = {each.shape[int(place)] for each in inputs for place, name in each.dynamic.items() if name == label}
    if not sizes:
        raise UsageError(
            f"--dynamic {label} has no meaning for {spec.source}: no input has such a dimension", hint="leave it out"
        )
    if len(sizes) > 1:
        raise UsageError(
            f"--dynamic {label} needs one size, and the inputs of {spec.source} have {sorted(sizes)}",
            hint="give their shapes with --input so that they agree",
        )
    has_options = not spec.source.startswith(("py:", "the "))  # --batch and --seq are for models that partkit feeds
    if sizes == {1} and not (has_options and label in ("batch", "seq")):
        raise UsageError(
            f"--dynamic lets {label} vary up to the example's size, which is 1",
            hint="give the largest size that the plan must serve, with a larger example or --input",
        )
    if sizes == {1}:
        raise UsageError(
            f"--dynamic {label} lets {label} vary up to --{label}, which is 1",
            hint=f"add --{label} with the largest size that the plan must serve",
        )
