"""Where a model comes from and what it is fed."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from partkit.data.document import Record
from partkit.errors import UsageError


class InputSpec(Record):
    """One tensor input of a model: its name in ``forward``, shape and dtype (as in ``int64``)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: tuple[int | float, int | float] | None = None
    """Half-open range that synthetic values are drawn from; None: 0 to 1 for integers, normal for floats."""

    dynamic: dict[str, str] = Field(default_factory=dict)
    """Dimensions that vary from item to item, ``{"0": "batch", "1": "seq"}``: ``shape`` has the largest sizes."""

    smallest: dict[str, int] = Field(default_factory=dict)
    """Smallest sizes of dimensions that vary, where they are not 1: a program may have been exported for 2 and more."""

    def __str__(self) -> str:
        return f"{self.name}={'x'.join(str(size) for size in self.shape)}:{self.dtype}"

    def least(self, place: int | str) -> int:
        """The smallest size of a dimension that varies."""
        return self.smallest.get(str(place), 1)

    def place_of(self, label: str) -> int | None:
        """The first dimension that is the size of this name; None where none is."""
        return next((int(place) for place, name in self.dynamic.items() if name == label), None)

    def resized(self, sizes: Mapping[str, int]) -> InputSpec:
        """The same input with other values for its varying dimensions."""
        shape = [sizes.get(self.dynamic.get(str(place), ""), size) for place, size in enumerate(self.shape)]
        return self.model_copy(update={"shape": tuple(shape)})


class ModelSpec(Record):
    """A model as the command line names it, with everything that decides its structure and weights."""

    source: str = "graph:unnamed"
    dtype: str = "float32"
    tf32: bool = False
    """Float32 matrix products and convolutions may round their operands to TF32 (CUDA)."""
    compiled: bool = False
    """Stages go through torch.compile (Inductor)."""
    structure_sha256: str | None = None
    """Digest of the captured graph: operations, shapes, dtypes and parameter names. None for a bare graph."""
    inputs: tuple[InputSpec, ...] = ()
    seed: int = 1
    task: str | None = None
    """transformers auto class in short (``masked-lm``, ``causal-lm``, ...); None: the config's own architecture."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """What else the source needs in order to build the same structure again."""
    examples_only: str | None = None
    """Why every item is the example that came with the model: what it does on drawn inputs. None: item 0 alone is."""

    @property
    def batch(self) -> int:
        """Samples in one item: the first input's leading dimension."""
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else 1

    @property
    def runs_own_code(self) -> bool:
        """True where building the model runs Python code that comes with it, which needs consent."""
        return self.source.startswith("py:") or bool(self.options.get("trust_remote_code"))

    @property
    def has_examples(self) -> bool:
        """True where example inputs come with the model and are not drawn."""
        return self.source.startswith(("py:", "pt2:"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its runs must know of its inputs."""
        if self.examples_only is None:
            return ()
        return (
            f"every item is the example that came with the model, since on drawn inputs it {self.examples_only}: "
            "a check would not see items that change places",
        )

    @property
    def is_graph(self) -> bool:
        """True for a graph from elsewhere, which can be planned but not run."""
        return self.source.startswith("graph:")

    @property
    def sizes(self) -> dict[str, int]:
        """The largest value of each size that varies, by its label."""
        return {label: each.shape[int(place)] for each in self.inputs for place, label in each.dynamic.items()}

    @property
    def smallest_sizes(self) -> dict[str, int]:
        """The smallest value of each size that varies, by its label."""
        found: dict[str, int] = {}
        for each in self.inputs:
            for place, label in each.dynamic.items():
                found[label] = max(found.get(label, 1), each.least(place))
        return found

    def resized(self, sizes: Mapping[str, int]) -> ModelSpec:
        """The same model fed with other sizes. Raises :class:`UsageError` for a size that is fixed or out of range."""
        for label, wanted in sizes.items():
            largest = self.sizes.get(label)
            if largest is None:
                raise UsageError(
                    f"--{label} {wanted} has no effect: the plan of {self.source} is for fixed shapes",
                    hint=f"plan it again with '--dynamic {label}'",
                )
            smallest = self.smallest_sizes[label]
            if not smallest <= wanted <= largest:
                raise UsageError(
                    f"--{label} {wanted} is out of range: {self.source} was planned for {smallest} to {largest}",
                    hint=self.hint_for(label, wanted),
                )
        return self.model_copy(update={"inputs": tuple(each.resized(sizes) for each in self.inputs)})

    def hint_for(self, label: str, wanted: int) -> str:
        """How to have a plan serve a size that is out of range."""
        if self.source.startswith("pt2:"):
            smallest, largest = min(self.smallest_sizes[label], wanted), max(self.sizes[label], wanted)
            return f"export the program with Dim({label!r}, min={smallest}, max={largest}) and an example of {largest}"
        return f"plan it again with '--dynamic {label} --{label} {wanted}'"
