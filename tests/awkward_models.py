"""Modules with one awkward structure each, all cut at every operation by tests/test_cut_everywhere.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_outputs import ModelOutput

Made = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


class Function(nn.Module):
    """A module of one linear layer whose forward is a given function of it and the inputs."""

    def __init__(self, body: Callable[..., Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.body = body

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(self.layer, *args, **kwargs)


def matrix() -> torch.Tensor:
    return torch.randn(4, 6)


def sizes_as_numbers() -> Made:
    def body(layer, x):
        rows, columns = x.shape
        return layer(x) * rows + torch.arange(columns) / (rows * columns)

    return Function(body), (matrix(),), {}


def items_as_numbers() -> Made:
    """Two numbers read from tensors meet in one operation, long after they were read."""

    def body(layer, x, count):
        scale, times = x.sum().item(), count.item()
        hidden = layer(x)
        shifted = torch.relu(hidden) + scale
        return torch.tanh(shifted) * times + scale * times

    return Function(body), (matrix(), torch.tensor(3)), {}


def number_as_length() -> Made:
    """A length known only at run time, until it is summed away."""

    def body(layer, x, keep):
        length = keep.item()
        torch._check(length >= 1)
        torch._check(length <= 4)
        kept = x.narrow(0, 0, length)
        return layer(x) + torch.tanh(kept).sum(0)

    return Function(body), (matrix(), torch.tensor(2)), {}


def rows_where_true() -> Made:
    """Shapes known only at run time: rows chosen by a mask."""

    def body(layer, x):
        chosen = torch.nonzero(x[:, 0] > 0).squeeze(1)
        updates = layer(x)[chosen] * 2
        return torch.index_add(x, 0, chosen, updates)

    return Function(body), (matrix(),), {}


def integers_and_booleans() -> Made:
    def body(layer, x, ids, mask):
        wide = ids.to(torch.int8) + 1
        both = mask & (ids > 1)
        counted = both.cumsum(0) * wide
        return layer(x).masked_fill(~both[:, None], 0) + counted[:, None], both, counted.to(torch.int16)

    return Function(body), (matrix(), torch.tensor([0, 1, 2, 3]), torch.tensor([True, True, False, True])), {}


def zero_dimensions() -> Made:
    def body(layer, x, scale):
        mean = layer(x).mean()
        root = torch.sqrt(scale) + mean
        return root * x, root, mean.to(torch.float64)

    return Function(body), (matrix(), torch.tensor(2.0)), {}


def empty_tensors() -> Made:
    def body(layer, x, nothing):
        more = torch.cat([nothing * 2, x], 0)
        none = layer(more)[4:][:0] + 1
        return layer(torch.cat([none, x], 0)), none.sum(0), none

    return Function(body), (matrix(), torch.empty(0, 6)), {}


def strange_strides() -> Made:
    """Expanded, transposed, strided, flipped and chunked values, each followed by a view that relies on them."""

    def body(layer, x):
        hidden = layer(x)
        wide = hidden.sum(1, keepdim=True).expand(4, 6)
        turned = hidden.t()
        joined = (turned + wide.t()).transpose(0, 1).reshape(2, 2, 6).permute(2, 0, 1)
        every_other = joined[::2].flip(0)
        left, right = every_other.chunk(2, dim=1)
        column = hidden.as_strided((3, 4), (1, 6))
        return left.permute(1, 2, 0).reshape(-1) + right.permute(1, 2, 0).reshape(-1), column * 2, turned

    return Function(body), (matrix(),), {}


def window_on_memory() -> Made:
    """A window that looks past the view it is taken of, into memory that the view leaves out."""

    def body(layer, x):
        hidden = layer(x)
        narrow = hidden[1:, 1:3]
        return torch.as_strided(narrow, (2, 5), (6, 1), 3) * 2 + torch.relu(narrow).sum()

    return Function(body), (matrix(),), {}


def channels_last() -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            hidden = self.first(x.to(memory_format=torch.channels_last))
            flat = hidden.permute(0, 2, 3, 1).view(-1, 4)
            return self.second(torch.relu(hidden)), flat.sum(0)

    return Net(), (torch.randn(2, 3, 5, 5),), {}


def writes_in_place() -> Made:
    def body(layer, x):
        hidden = layer(x)
        hidden.add_(1).relu_()
        hidden[:, 1:3] = 7
        part = hidden[0]
        part.mul_(2)
        table = torch.zeros(4, 6)
        table.index_put_((torch.arange(4),), hidden)
        table.masked_fill_(table > 1, -1)
        return table + hidden

    return Function(body), (matrix(),), {}


def writes_to_its_input() -> Made:
    def body(layer, x):
        x = x.clone()
        x += 1
        return layer(x), x

    return Function(body), (matrix(),), {}


class SharedTwice(nn.Module):
    """One layer called twice, a weight tied to another layer's, and one tied to its own transpose's use."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.middle = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        hidden = self.norm(self.middle(self.embed(ids)))
        hidden = self.norm(self.middle(torch.tanh(hidden)))
        return self.head(hidden), hidden @ self.embed.weight.t()


def shared_twice() -> Made:
    return SharedTwice(), (torch.tensor([[1, 2, 3]]),), {}


@dataclass
class Nested(ModelOutput):
    logits: torch.Tensor | None = None
    states: tuple[torch.Tensor, ...] | None = None
    extra: dict[str, Any] | None = None


def nested_outputs() -> Made:
    """A dataclass that holds tuples, dicts, None, a number, an input as it came and the same tensor twice."""

    def body(layer, x, unused=None):
        first = layer(x)
        second = torch.relu(first)
        return Nested(
            logits=layer(second), states=(first, second), extra={"again": first, "x": x, "none": None, "n": 3}
        )

    return Function(body), (matrix(),), {}


def texts_as_outputs() -> Made:
    """Texts that are names of nodes, of inputs and of parameters, and numbers, beside what is computed."""

    def body(layer, x):
        hidden = torch.relu(layer(x))
        return {"y": hidden, "activation": "relu", "relu": "x", "x": ["linear", x], "output": ("output", 2.5, True)}

    return Function(body), (matrix(),), {}


def number_as_output() -> Made:
    def body(layer, x):
        total = x.sum().item()
        return layer(x), {"total": total, "rows": x.shape[0]}

    return Function(body), (matrix(),), {}


def many_inputs() -> Made:
    """Positional, keyword, nested and None inputs; one used at once and late, one only late."""

    def body(layer, x, pair, *, late, options):
        hidden = layer(x) + pair[0]
        for _ in range(2):
            hidden = torch.tanh(layer(hidden))
        return hidden * late + pair[1] + x + options["bias"]

    pair, options = (matrix(), torch.randn(6)), {"bias": torch.randn(6), "missing": None}
    return Function(body), (matrix(), pair), {"late": torch.randn(6), "options": options}


def long_skips() -> Made:
    def body(layer, x):
        kept = [layer(x)]
        for _ in range(4):
            kept.append(torch.relu(layer(kept[-1])))
        return sum(kept), kept[1] * kept[4]

    return Function(body), (matrix(),), {}


def outputs_all_along() -> Made:
    def body(layer, x):
        outputs = [x]
        for _ in range(3):
            outputs.append(torch.tanh(layer(outputs[-1])))
        return outputs

    return Function(body), (matrix(),), {}


class Experts(nn.Module):
    """Mixture of experts: each token goes to its best two of three, gathered with shapes known at capture."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 3)
        self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        weights, chosen = torch.topk(self.router(x).softmax(-1), 2)
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            share = (weights * (chosen == number)).sum(-1, keepdim=True)
            result = result + share * expert(x)
        counts = F.one_hot(chosen, 3).sum((0, 1))
        return result, counts


def experts() -> Made:
    return Experts(), (matrix(),), {}


class Sparse(nn.Module):
    """Mixture of experts as usually written: each expert computes just its own tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 2)
        self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.last = nn.Linear(6, 6)

    def forward(self, x):
        chosen = self.router(x).argmax(-1)
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            (rows,) = torch.where(chosen == number)
            result = result.index_add(0, rows, expert(x[rows]))
        return self.last(torch.relu(result))


def sparse_experts() -> Made:
    return Sparse(), (matrix(),), {}


class Branches(nn.Module):
    """Convolutions in branches that meet again, batch norm with its buffers, pooling with indices."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.wide, self.narrow = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.down = nn.Conv2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        stem = self.stem(x)
        joined = torch.cat([self.wide(stem), self.narrow(stem)], 1)
        pooled, places = F.max_pool2d(stem, 2, return_indices=True)
        restored = F.max_unpool2d(pooled, places, 2)
        down = self.down(joined + restored.repeat(1, 2, 1, 1)) + F.avg_pool2d(stem, 2)
        return self.head(F.adaptive_avg_pool2d(F.interpolate(down, scale_factor=2), 1).flatten(1))


def conv_branches() -> Made:
    return Branches(), (torch.randn(1, 3, 8, 8),), {}


class Buffers(nn.Module):
    """Persistent and other buffers, a constant made in forward, one buffer read at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.register_buffer("scale", torch.randn(6))
        self.register_buffer("steps", torch.arange(6.0), persistent=False)

    def forward(self, x):
        hidden = self.layer(x * self.scale + self.steps)
        mask = torch.ones(4, 6, dtype=torch.bool).tril()
        return hidden.masked_fill(mask, 0.5) * torch.tensor([1.0, 2, 3, 4, 5, 6]) + self.scale


def buffers() -> Made:
    return Buffers(), (matrix(),), {}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(6, 6, num_layers=2, batch_first=True)

    def forward(self, x):
        states, (last, cell) = self.cells(x)
        return states[:, -1] + last[-1], cell


def recurrent() -> Made:
    return Recurrent(), (torch.randn(2, 3, 6),), {}


def attention() -> Made:
    """Attention with a mask expanded from a small one, and complex numbers in between (rotations)."""

    def body(layer, x, mask):
        heads = layer(x).view(4, 2, 3).transpose(0, 1)
        wide = (mask[None, :] & mask[:, None])[None].expand(2, 4, 4)
        attended = F.scaled_dot_product_attention(heads, heads, heads, attn_mask=wide)
        flat = attended.transpose(0, 1).reshape(4, 6)
        turned = torch.view_as_complex(flat.view(4, 3, 2).contiguous()) * torch.polar(torch.ones(3), torch.arange(3.0))
        return torch.view_as_real(turned).flatten(1)

    return Function(body), (matrix(), torch.tensor([True, True, False, True])), {}


def several_results() -> Made:
    """Operations with several results, of which some are used late, some never."""

    def body(layer, x):
        values, places = layer(x).sort(dim=1)
        low, middle, high = values.split([1, 2, 3], dim=1)
        best, _ = high.max(dim=1)
        mean, spread = torch.var_mean(values)
        return torch.gather(x, 1, places) + low, middle, best * mean + spread

    return Function(body), (matrix(),), {}


ALL: tuple[Callable[[], Made], ...] = (
    sizes_as_numbers,
    items_as_numbers,
    number_as_length,
    rows_where_true,
    integers_and_booleans,
    zero_dimensions,
    empty_tensors,
    strange_strides,
    window_on_memory,
    channels_last,
    writes_in_place,
    writes_to_its_input,
    shared_twice,
    nested_outputs,
    texts_as_outputs,
    number_as_output,
    many_inputs,
    long_skips,
    outputs_all_along,
    experts,
    sparse_experts,
    conv_branches,
    buffers,
    recurrent,
    attention,
    several_results,
)
