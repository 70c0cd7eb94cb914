"""Models of unusual make, by a factory's name and as a live module: each works bit for bit or is told in a sentence."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from partkit.errors import PartkitError
from partkit.models.archive import archive_module
from partkit.models.capture import capture
from partkit.models.inputs import synthetic_inputs
from partkit.models.sources import load_model, parse_model
from tests.awkward_models import Function, Made, matrix
from tests.split_run import profile_of, reference, run_split, same_bits, stages_cut_at


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Around(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.first, self.part = nn.Linear(6, 6), part

    def forward(self, x):
        return self.part(torch.relu(self.first(x)))


class Named(nn.Module):
    """A part that has any name, called by way of the registry."""

    def __init__(self, name: str, part: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.name = nn.Linear(6, 6), name
        self._modules[name] = part or nn.Linear(6, 6)

    def forward(self, x):
        return self._modules[self.name](torch.relu(self.first(x)))


class Holding(nn.Module):
    """A layer and a tensor by any name, as a buffer or parameter or just there."""

    def __init__(self, tensor: torch.Tensor, *, name: str = "held", kind: str = "buffer") -> None:
        super().__init__()
        self.layer, self.name = nn.Linear(6, 6), name
        held = nn.Parameter(tensor, requires_grad=False) if kind == "parameter" else tensor
        (self.__dict__ if kind == "plain" else self._parameters if kind == "parameter" else self._buffers)[name] = held

    def forward(self, x):
        held = {**self._parameters, **self._buffers, **vars(self)}[self.name]
        hidden = self.layer(x)
        if held.layout != torch.strided:
            return torch.sparse.mm(held, hidden.t()).t()
        return hidden * held.float()


class OwnTensor(torch.Tensor):
    """A tensor class of the user's own, as libraries of quantised or annotated tensors have."""


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def made(body: Callable[..., Any], *inputs: Any, **kwargs: Any) -> Made:
    return Function(body), inputs or (matrix(),), kwargs


def single(module: nn.Module, *inputs: torch.Tensor) -> Made:
    return module, inputs or (matrix(),), {}


def cache() -> DynamicCache:
    kept = DynamicCache()
    kept.update(torch.ones(1, 1, 4, 6), torch.ones(1, 1, 4, 6), 0)
    return kept


def returns_cache(layer, x):
    kept = DynamicCache()
    kept.update(layer(x).view(1, 1, 4, 6), x.view(1, 1, 4, 6), 0)
    return layer(x), kept


class Draws(Net):
    def forward(self, x):
        return super().forward(x) + torch.rand(4, 6, generator=torch.Generator())


def autocasts(layer, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return layer(x)


def prints(layer, x):
    print("a model that talks")
    return layer(x)


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8)


SCALES = torch.ones(6).to(torch.float8_e8m0fnu)
COUNTS = torch.arange(4)
GLOBAL = torch.full((6,), 3.0)

WORK: dict[str, Callable[[], Made]] = {
    **{
        f"{dtype}_input": lambda dtype=dtype: made(
            lambda layer, x, ids: layer(x) + ids.float()[:, None], matrix(), COUNTS.to(dtype)
        )
        for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.float8_e4m3fn)
    },
    "uint16_output": lambda: made(lambda layer, x: (layer(x), (x > 0).to(torch.uint16))),
    "float8_output": lambda: made(lambda layer, x: layer(x).to(torch.float8_e4m3fn)),
    "float8_scales": lambda: single(Holding(SCALES)),
    "float8_scales_output": lambda: made(lambda layer, x: layer(x).abs().to(torch.float8_e8m0fnu)),
    "complex_input": lambda: made(lambda layer, x, z: layer(x) + (z * z).real, matrix(), matrix() + 1j),
    "no_elements": lambda: made(lambda layer, x: torch.relu(layer(x)), torch.empty(0, 6)),
    "no_dimensions": lambda: made(lambda layer, x, scale: layer(x) * scale, matrix(), torch.tensor(2.0)),
    "none_and_flags": lambda: made(
        lambda layer, x, y=None, *, flag, mode: layer(x) if flag and mode == "a" else x, flag=True, mode="a", y=None
    ),
    "integers_as_keys": lambda: made(lambda layer, by: {0: layer(by[0]), 1: by[1]}, {0: matrix(), 1: matrix()}),
    "cache_output": lambda: made(returns_cache),
    "cache_input": lambda: made(lambda layer, x, past: layer(x) + past.layers[0].keys[0, 0], matrix(), cache()),
    "vmap": lambda: made(lambda layer, x: torch.vmap(lambda row: layer(row) * 2)(x)),
    "autocast": lambda: made(autocasts),
    "autograd_function": lambda: made(lambda layer, x: Doubled.apply(layer(x))),
    "functional_call": lambda: made(
        lambda layer, x: torch.func.functional_call(layer, {"weight": torch.eye(6) * 2}, (x,))
    ),
    "prints": lambda: made(prints),
    "global_tensor": lambda: made(lambda layer, x: layer(x) * GLOBAL),
    "needs_gradients": lambda: made(lambda layer, x: layer(x), matrix().requires_grad_()),
    "data_parallel": lambda: single(nn.DataParallel(Net())),
    "compiled_part": lambda: single(Around(torch.compile(Net().eval(), backend="eager"))),
    "parametrised": lambda: single(Around(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)))),
    "graph_module": lambda: single(torch.fx.symbolic_trace(Net())),
    "plain_tensor": lambda: single(Holding(torch.randn(6), kind="plain")),
    "called_twice": lambda: single(nn.Sequential(*[nn.Linear(6, 6)] * 2)),
    "named_T": lambda: single(Named("T")),
    "named_input": lambda: single(Named("input")),
}

DRAWN = "return super().forward(x) + torch.rand(4, 6, generator=torch.Generator())"
LINE = f"at {{file}}:{{line}} in forward ({DRAWN})"
CANNOT = "torch.export cannot capture {source}"
RENAME = "rename it; {without}"
SCRIPTED = ("was made by torch.jit.script, which hides its operations", "use the nn.Module that it was made from")
PACKED = "is quantised, its weights packed for CPU kernels and no tensors"
UNPACK = "use the module from before torch.ao.quantization, or quantise with torchao; {without}"
BOTH, LIVE, FACTORY = ("py", "live"), ("live",), ("py",)

REFUSED: list[tuple[str, Callable[[], Made], tuple[str, ...], str]] = [
    (
        "script_part",
        lambda: single(Around(torch.jit.script(Net().eval()))),
        BOTH,
        f"{CANNOT}: its module 'part' {SCRIPTED[0]}; {SCRIPTED[1]}; {{without}}",
    ),
    (
        "traced_part",
        lambda: single(Around(torch.jit.trace(Net().eval(), (matrix(),)))),
        BOTH,
        f"{CANNOT}: its module 'part' {SCRIPTED[0].replace('script', 'trace')}; {SCRIPTED[1]}; {{without}}",
    ),
    (
        "script_whole",
        lambda: single(torch.jit.script(Net().eval())),
        FACTORY,
        f"partkit cannot load {{source}}: it {SCRIPTED[0]}; {SCRIPTED[1]}",
    ),
    (
        "lazy",
        lambda: single(nn.Sequential(nn.LazyLinear(3))),
        LIVE,
        f"{CANNOT}: '0.weight' of a lazy module has no shape before the first call; call the module once with its "
        "example inputs before it is handed over; {without}",
    ),
    (
        "generator",
        lambda: single(Draws()),
        BOTH,
        f"{CANNOT} {LINE}: its operations share a torch.Generator, and stages share tensors only; draw without "
        "generator=, or make the noise an input; {without}",
    ),
    ("quantised", lambda: single(quantised()), BOTH, f"{CANNOT}: its module 'first' {PACKED}; {UNPACK}"),
    (
        "fake_quantised",
        lambda: single(nn.Sequential(nn.Linear(6, 6), torch.ao.quantization.FakeQuantize())),
        BOTH,
        f"{CANNOT}: its module '1' is a FakeQuantize, which switches itself on and off by its data; take it out "
        "(torch.nn.Identity() in its place), or quantise with torchao; {without}",
    ),
    (
        "own_class_of_weight",
        lambda: single(Holding(torch.ones(6).as_subclass(OwnTensor), kind="parameter")),
        LIVE,
        f"{CANNOT}: its tensor 'held' is of class OwnTensor, which no saved program holds; replace it by its "
        "as_subclass(torch.Tensor); {without}",
    ),
    (
        "own_class_of_input",
        lambda: single(Net(), matrix().as_subclass(OwnTensor)),
        LIVE,
        "an example input is of class OwnTensor, which no saved program holds; feed its as_subclass(torch.Tensor)",
    ),
    (
        "named_half",
        lambda: single(Named("half")),
        BOTH,
        f"{CANNOT}: its module 'half' has the name of a method, which hides it; {RENAME}",
    ),
    (
        "named_to_inside",
        lambda: single(Around(Named("to"))),
        BOTH,
        f"{CANNOT}: its module 'part.to' has the name of a method, which hides it; {RENAME}",
    ),
    (
        "named_code",
        lambda: single(Named("code")),
        LIVE,
        f"{CANNOT}: 'code' is the name of an attribute of torch's graphs, which hides it there; {RENAME}",
    ),
    (
        "dotted",
        lambda: single(Holding(torch.ones(6), name="a.b", kind="parameter")),
        BOTH,
        f"{CANNOT}: its tensor 'a.b' has a dot in its own name, which parts modules elsewhere; {RENAME}",
    ),
    (
        "sparse_buffer",
        lambda: single(Holding(torch.eye(6).to_sparse())),
        LIVE,
        f"{CANNOT}: its tensor 'held' is sparse_coo, which no saved program holds; use its to_dense(); {{without}}",
    ),
    (
        "sparse_output",
        lambda: made(lambda layer, x: layer(x).to_sparse()),
        FACTORY,
        f"{CANNOT} at {{body}}: it returns to_sparse, which is sparse_coo; return its to_dense(); {{without}}",
    ),
    (
        "sparse_input",
        lambda: made(lambda layer, x: layer(x.to_dense()), torch.eye(6).to_sparse()),
        FACTORY,
        "input 'args_0' is sparse_coo; feed its to_dense(), or its indices and values as two inputs",
    ),
    (
        "meta_buffer",
        lambda: single(Holding(torch.ones(6, device="meta"))),
        FACTORY,
        "{source} has its buffer 'held' on the meta device, where it has no value; make buffers on the CPU: "
        "parameters alone may be on meta",
    ),
]


def ways(monkeypatch: pytest.MonkeyPatch, factory: Callable[[], Made], way: str, folder: Path) -> Any:
    """The model's spec, after capture where it is live."""
    if way == "py":
        monkeypatch.setattr(sys.modules[__name__], "factory", factory, raising=False)
        monkeypatch.setitem(sys.modules, "unusual_models", sys.modules[__name__])
        return parse_model("py:unusual_models:factory")
    torch.manual_seed(0)
    module, args, kwargs = factory()
    return archive_module(module.eval(), args, kwargs, folder)


def check_works(spec: Any) -> None:
    """Cut in the middle it gives the unsplit model's bits, and synthetic inputs can be drawn for it."""
    loaded = load_model(spec)
    captured = capture(loaded)
    assert list(synthetic_inputs(captured.spec, 1)) == [item.name for item in captured.spec.inputs]
    expected = reference(loaded)
    profile = profile_of(captured)
    num_placed = sum(not node.free for node in profile.nodes)
    cuts = [stages_cut_at(profile, position) for position in {1, num_placed // 2, num_placed - 1}]
    assert any(cut is not None for cut in cuts)
    for cut in cuts:
        assert cut is None or same_bits(run_split(loaded, captured, cut, 2), expected)


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("name", WORK)
def test_it_works_bit_for_bit(name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_works(ways(monkeypatch, WORK[name], way, tmp_path))


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.parametrize(
    ("factory", "way"),
    [
        pytest.param(lambda: single(nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(2))), "py", id="lazy"),
        pytest.param(lambda: single(Holding(torch.eye(6).to_sparse())), "py", id="sparse_buffer"),
        pytest.param(lambda: single(Named("code")), "py", id="named_code"),
        pytest.param(
            lambda: single(Holding(torch.ones(6).as_subclass(OwnTensor), kind="parameter")), "py", id="own_class"
        ),
        pytest.param(
            lambda: single(torch.export.export(Net().eval(), (matrix(),)).module()), "py", id="exported_module"
        ),
    ],
)
def test_it_works_as_a_factory(
    factory: Callable[[], Made], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_works(ways(monkeypatch, factory, way, tmp_path))


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*torch.ao.quantization", "ignore:torch.quantize_per")
@pytest.mark.parametrize(
    ("factory", "way", "message"),
    [
        pytest.param(factory, way, message, id=f"{name}-{way}")
        for name, factory, allowed, message in REFUSED
        for way in allowed
    ],
)
def test_one_sentence_says_why_not(
    factory: Callable[[], Made], way: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PartkitError) as raised:
        capture(load_model(ways(monkeypatch, factory, way, tmp_path)))
    source = "py:unusual_models:factory" if way == "py" else f"the {type(factory()[0]).__name__}"
    without = (
        f"'partkit compare {source} --with single,dispatch' runs it without capture"
        if way == "py"
        else "returned by a function of yours, 'partkit compare py:MODULE:FUNCTION --with single,dispatch' runs it "
        "without capture"
    )
    _, begin = inspect.getsourcelines(Draws.forward)
    assert raised.value.exit_code == 2
    assert str(raised.value) == message.format(
        source=source,
        without=without,
        file=__file__,
        line=begin + 1,
        body=str(raised.value).partition(" at ")[2].partition(": it returns")[0],
    )
