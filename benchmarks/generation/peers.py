"""One other way to write text, in a process of its own: tokens, seconds and first-token time as one line of JSON.

accelerate   device_map="auto" over the GPUs, then generate()
eager        generate() on one GPU
static       generate(cache_implementation="static") on one GPU, compiled by transformers itself
graph        one decode step over transformers' StaticCache in one CUDA graph, on one GPU
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("accelerate", "eager", "static", "graph"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--new", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    ids = torch.tensor([json.loads(line)["input_ids"] for line in options.prompts.read_text().splitlines()])
    place: Any = "auto" if options.way == "accelerate" else options.device
    folder, dtype = options.model.removeprefix("hf:"), getattr(torch, options.dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map=place)
    ids = ids.to(options.device)
    with torch.no_grad():
        run = _graph(model, ids, options) if options.way == "graph" else _generate(model, ids, options)
        print(json.dumps(run))


def _generate(model: Any, ids: torch.Tensor, options: argparse.Namespace) -> dict[str, Any]:
    extra = {"cache_implementation": "static"} if options.way == "static" else {}

    def write(new: int) -> Any:
        common = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, **extra}
        return model.generate(
            ids, max_new_tokens=new, min_new_tokens=new, attention_mask=torch.ones_like(ids), **common
        )

    made = write(options.new)
    first_s = min(_seconds(lambda: write(1)) for _ in range(options.repeats))
    all_s = min(_seconds(lambda: write(options.new)) for _ in range(options.repeats))
    return {
        "tokens": made[:, ids.shape[1] :].tolist(),
        "seconds": all_s,
        "first_token_s": first_s,
        "token_s": (all_s - first_s) / max(options.new - 1, 1),
    }


def _graph(model: Any, ids: torch.Tensor, options: argparse.Namespace) -> dict[str, Any]:
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=options.length)
    token = torch.zeros((ids.shape[0], 1), dtype=torch.int64, device=ids.device)

    def prefill() -> None:
        cache.reset()
        token.copy_(model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits.argmax(-1))

    def step() -> None:
        token.copy_(model(token, past_key_values=cache, use_cache=True).logits.argmax(-1))

    prefill()
    graph = None
    if ids.device.type == "cuda":
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            step()
    again: Callable[[], None] = step if graph is None else graph.replay
    first_s = _seconds(prefill)
    tokens = [token.clone()]
    begin = time.perf_counter()
    for _ in range(options.new - 1):
        again()
        tokens.append(token.clone())
    _settle()
    rest_s = time.perf_counter() - begin
    return {
        "tokens": torch.cat(tokens, dim=1).tolist(),
        "seconds": first_s + rest_s,
        "first_token_s": first_s,
        "token_s": rest_s / max(options.new - 1, 1),
    }


def _seconds(call: Callable[[], object]) -> float:
    _settle()
    begin = time.perf_counter()
    call()
    _settle()
    return time.perf_counter() - begin


def _settle() -> None:
    for index in range(torch.cuda.device_count()):
        torch.cuda.synchronize(index)


if __name__ == "__main__":
    main()
