"""A rank reads its stage's tensors of an archive by name, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from partkit.models.archive import archive_module
from partkit.models.sources import load_model

MB = 1_000_000
LAYERS, WIDTH = 12, 2048
LAYER_BYTES = 4 * WIDTH * WIDTH


def resident_bytes() -> dict[str, int]:
    """This process's anonymous and file-backed resident memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return {kind: int(re.search(rf"Rss{kind}:\s+(\d+) kB", status)[1]) * 1024 for kind in ("Anon", "File")}


def test_only_the_named_tensors_of_an_archive_are_read_and_none_into_memory(tmp_path):
    with torch.device("cpu"):
        module = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS))).eval()
    expected = module(torch.ones(1, WIDTH))
    spec = archive_module(module, (torch.ones(1, WIDTH),), {}, tmp_path)
    whole_bytes = LAYERS * LAYER_BYTES
    assert whole_bytes > 200 * MB
    load_model(spec)  # what torch's reader imports is not the archive's
    before = resident_bytes()
    loaded = load_model(spec)
    opened = resident_bytes()
    assert opened["Anon"] - before["Anon"] < 10 * MB
    assert opened["File"] - before["File"] < 10 * MB
    own = [f"{index}.weight" for index in range(LAYERS // 2)]
    value = torch.ones(1, WIDTH)
    for name in own:
        value = nn.functional.linear(value, loaded.weights.read(name))
    read = resident_bytes()
    assert read["Anon"] - before["Anon"] < 20 * MB
    assert whole_bytes / 2 <= read["File"] - opened["File"] < whole_bytes / 2 + LAYER_BYTES
    for index in range(LAYERS // 2, LAYERS):
        value = nn.functional.linear(value, loaded.weights.read(f"{index}.weight"))
    assert torch.equal(value, expected)


@pytest.mark.filterwarnings("ignore:No complete tensor found")  # torch, of saving an empty tensor
def test_mapped_tensors_keep_ties_views_dtypes_and_constants(tmp_path):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight
            self.turned = nn.Parameter(torch.arange(6.0).view(2, 3).T, requires_grad=False)
            self.register_buffer("counts", torch.arange(3))
            self.register_buffer("none", torch.empty(0, 3))
            self.register_buffer("passing", torch.ones(3, dtype=torch.bfloat16), persistent=False)

        def forward(self, x):
            passed = self.second(self.first(x)) + self.passing.float() + torch.tensor([1.0, 2.0, 3.0])
            return torch.cat([passed, self.none]) @ self.turned + self.counts[0]

    module, call = Mixed().eval(), torch.randn(2, 3)
    loaded = load_model(archive_module(module, (call,), {}, tmp_path))
    for name, tensor in (*module.named_parameters(remove_duplicate=False), *module.named_buffers()):
        if name != "second.weight":
            found = loaded.weights.read(name)
            assert torch.equal(found, tensor), name
            assert (found.dtype, found.stride()) == (tensor.dtype, tensor.stride()), name
    assert torch.equal(loaded.materialise()(call), module(call))
