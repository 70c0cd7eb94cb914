"""A decoder's step as a module without a past of its own: tokens and where they stand in, logits out.

tokens     [R, T]   R sequences, T tokens each: 1 to go on, a chunk of a prompt to begin with
positions  [R, T]   each token's place in its sequence; what is only there to fill a chunk stands at the cache's end,
                    where no token looks
last       [R]      which of the T tokens the next one follows
logits     [R, V]   of the next token of each row, in float32
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from partkit.models.decoding.attention import NAME, attend
from partkit.models.decoding.state import cache_length, extend

ALL_ATTENTION_FUNCTIONS.register(NAME, attend)


class DecodeStep(nn.Module):
    """A transformers decoder over a cache whose tensors are parameters, ``cache.keys_0`` and so on."""

    def __init__(self, model: nn.Module, *, sequences: int, max_length: int, vocabulary_head: nn.Module) -> None:
        super().__init__()
        self.model, self.max_length = model, max_length
        self.cache = nn.Module()
        self.length = cache_length(max_length)
        self._head = [vocabulary_head]  # in a list: it is the model's already
        for layer, (keys, values) in sorted(_shapes(model).items()):
            for name, like in (("keys", keys), ("values", values)):
                blank = torch.empty(
                    (sequences, like.shape[1], self.length, like.shape[3]), dtype=like.dtype, device="meta"
                )
                self.cache.register_parameter(f"{name}_{layer}", nn.Parameter(blank, requires_grad=False))

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Logits [R, V] of the token after each row's ``last``."""
        hook = self._head[0].register_forward_pre_hook(lambda _, args: (args[0][torch.arange(args[0].shape[0]), last],))
        try:
            outputs = self.model(
                input_ids=tokens,
                position_ids=positions.clamp(max=self.max_length - 1),
                attention_mask=self._masks(positions),
                past_key_values=_StateCache(self.cache, positions),
                use_cache=True,
            )
        finally:
            hook.remove()
        logits: torch.Tensor = outputs.logits.float()
        return logits

    def _masks(self, positions: torch.Tensor) -> Any:
        """Where each token may look: at its own row, up to itself, and no further back than its layer's window."""
        config = cast("Any", self.model).config.get_text_config()
        keys = torch.arange(self.length, device=positions.device)
        seen = keys <= positions[:, None, :, None]
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ())
        if window is None or kinds == {"full_attention"}:
            near = seen
        else:
            near = seen & (keys > positions[:, None, :, None] - window)
        if kinds and _takes_masks_by_kind(self.model):
            return {"full_attention": self._added(seen), "sliding_attention": self._added(near)}
        return self._added(near)

    def _added(self, allowed: torch.Tensor) -> torch.Tensor:
        """The mask as it is added to scores, once for all layers: each would turn a boolean one into this."""
        dtype = cast("torch.dtype", self.model.dtype)
        return torch.zeros((), dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)


class _StateCache(Cache):  # type: ignore[misc]  # transformers has no types here
    """What attention calls with new keys and values: it writes them at this step's positions and gives all."""

    def __init__(self, tensors: nn.Module, positions: torch.Tensor) -> None:
        super().__init__(layers=[])
        self._tensors, self._positions = tensors, positions

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer's keys and values with the new ones in place."""
        keys, values = (getattr(self._tensors, f"{name}_{layer_idx}") for name in ("keys", "values"))
        return extend(keys, key_states, self._positions), extend(values, value_states, self._positions)

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - rows differ, and positions say where each is
        """0: positions are given, and nothing else asks."""
        return 0


class _Recorder(_StateCache):
    """Notes the shapes of keys and values, and keeps none."""

    def __init__(self) -> None:
        Cache.__init__(self, layers=[])
        self.shapes: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What was given."""
        self.shapes[layer_idx] = (key_states, value_states)
        return key_states, value_states


def _shapes(model: nn.Module) -> Mapping[int, tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of one token by layer, as the model itself makes them; nothing is computed."""
    recorder = _Recorder()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        blank = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype)
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        }
        one = torch.zeros((1, 1), dtype=torch.int64)
        mask: Any = torch.ones((1, 1, 1, 1), dtype=torch.bool)
        if _takes_masks_by_kind(model):
            mask = {"full_attention": mask, "sliding_attention": mask}
        inputs = {"input_ids": one, "position_ids": one, "attention_mask": mask, "past_key_values": recorder}
        torch.func.functional_call(model, blank, (), {**inputs, "use_cache": True})
    return recorder.shapes


def _takes_masks_by_kind(model: nn.Module) -> bool:
    """Whether the decoder takes a mask for each kind of layer, as those that mix kinds do."""
    decoder = getattr(model, cast("Any", model).base_model_prefix)
    return "causal_mask_mapping" in inspect.getsource(type(decoder).forward)
