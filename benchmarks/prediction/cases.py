"""Models, batches and dtypes that are predicted and measured: none is left out of a table because it went badly."""

from __future__ import annotations

from dataclasses import dataclass

from partkit import parse_model
from partkit.data.model import ModelSpec


@dataclass(frozen=True)
class Case:
    """A model as it is run."""

    model: str
    batch: int = 1
    dtype: str = "float32"
    seq: int | None = None

    @property
    def name(self) -> str:
        """For files and rows."""
        seq = "" if self.seq is None else f"-seq{self.seq}"
        return f"{self.model}-{self.dtype}-batch{self.batch}{seq}"

    def spec(self) -> ModelSpec:
        """The model's spec."""
        return parse_model(self.model, batch=self.batch, dtype=self.dtype, seq=self.seq)


CPU = (
    Case("bert-tiny"),
    Case("bert-tiny", 8),
    Case("bert-tiny", 1, "bfloat16"),
    Case("bert-mini"),
    Case("bert-mini", 4),
    Case("bert-mini", 1, "float32", 32),
    Case("bert-mini", 1, "bfloat16"),
    Case("llama-tiny"),
    Case("llama-tiny", 4),
    Case("llama-tiny", 1, "bfloat16"),
    Case("bert", 1, "float32", 32),
    Case("resnet50"),
)
CUDA = (
    Case("bert"),
    Case("bert", 8),
    Case("bert", 1, "bfloat16"),
    Case("bert", 8, "bfloat16"),
    Case("gpt2"),
    Case("gpt2", 8),
    Case("gpt2", 1, "bfloat16"),
    Case("gpt2", 8, "bfloat16"),
    Case("vit"),
    Case("vit", 8, "bfloat16"),
    Case("bert-large", 1, "bfloat16"),
    Case("bert-large", 8, "bfloat16"),
    Case("resnet50"),
    Case("t5-small"),
)
