"""Text over two GPUs, beside accelerate's generate() and one GPU's: speed, first token, and whether tokens are equal.

    PYTHONPATH=.:cli python3 benchmarks/generation/main.py --out results
    PYTHONPATH=.:cli python3 benchmarks/generation/main.py --out results --batches 1,8,64 --ways lanes,one-lane,graph
    PYTHONPATH=.:cli python3 benchmarks/generation/main.py --out results --prompt 8000 --length 8192 --batches 1,8
    PYTHONPATH=.:cli python3 benchmarks/generation/main.py --out results --tiny            # on a CPU, to try the script

``lanes`` is the plan that ``partkit plan --generate`` makes, ``one-lane`` that with one lane, ``one-stage`` the same
step on one GPU in one CUDA graph; the others are those of peers.py. Every way has a process of its own, all write
greedily after the same prompts. tokens/s is of all new tokens over the whole time, prompts included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SEVEN = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
PARTKIT = {"lanes": [], "one-lane": ["--lanes", "1"], "one-stage": ["--lanes", "1"]}
PEERS = ("accelerate", "eager", "static", "graph")
WRITER = """
import json, sys
import partkit
from partkit.data.plan import Plan
plan, prompts, new, repeats, device = sys.argv[1:]
ids = [json.loads(line)["input_ids"] for line in open(prompts)]
with partkit.open_generator(Plan.load(plan), device=device) as generator:
    runs = [generator.generate(ids, max_new_tokens=int(new), stops=()) for _ in range(int(repeats) + 1)][1:]
best = max(runs, key=lambda run: run.tokens_per_s)
tokens = [list(each.tokens) for each in best.sequences]
print(json.dumps({
    "tokens": tokens,
    "seconds": sum(map(len, tokens)) / best.tokens_per_s,
    "first_token_s": best.first_token_s.p50,
    "token_s": best.token_s.p50,
    "peak_bytes": best.peak_bytes,
    "notes": best.warnings,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=96)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--ways", default=",".join((*PARTKIT, *PEERS)))
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.device = "cpu" if options.tiny else "cuda"
    model = _model(options.out / "model", TINY if options.tiny else SEVEN, options)
    found: list[dict[str, Any]] = []
    for batch in map(int, options.batches.split(",")):
        prompts = _prompts(options.out / f"prompts{batch}.jsonl", batch, options.prompt)
        for way in options.ways.split(","):
            row = {"batch": batch, "way": way, **_run(way, model, prompts, batch, options)}
            found.append(row)
            (options.out / f"generation-{options.prompt}-{options.length}.json").write_text(json.dumps(found))
        _tell([row for row in found if row["batch"] == batch])


def _model(folder: Path, sizes: dict[str, int], options: argparse.Namespace) -> str:
    """A checkpoint, written once: every way reads the same weights as its users would."""
    if not any(folder.glob("*.safetensors")):
        common = {"vocab_size": 32_000, "eos_token_id": None, "max_position_embeddings": 65_536}
        config = LlamaConfig(**common, **sizes, num_key_value_heads=sizes["num_attention_heads"])
        torch.manual_seed(0)
        with torch.device(options.device):
            model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, options.dtype))
        model.save_pretrained(folder)
    return f"hf:{folder}"


def _prompts(path: Path, batch: int, length: int) -> Path:
    draw = torch.Generator().manual_seed(0)
    rows = torch.randint(3, 32_000, (batch, length), generator=draw).tolist()
    path.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))
    return path


def _run(way: str, model: str, prompts: Path, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    common = ["--model", model, "--prompts", str(prompts), "--new", str(options.new), "--length", str(options.length)]
    if way in PEERS:
        peer = [way, *common, "--device", options.device, "--dtype", options.dtype, "--repeats", str(options.repeats)]
        return _json([str(HERE / "peers.py"), *peer])
    stages = "1" if way == "one-stage" else "2"
    plan = options.out / f"{way}-{batch}-{options.length}.json"
    asked = ["--generate", "--max-length", str(options.length), "--sequences", str(batch), "--stages", stages]
    planned = _json(
        [
            *("-m", "partkit_cli", "plan", model, *asked, "--exact", "--dtype", options.dtype, *PARTKIT[way]),
            *("--device", options.device, "-o", str(plan), "--json"),
        ]
    )
    if "reason" in planned:
        return planned
    arguments = [str(plan), str(prompts), str(options.new), str(options.repeats), options.device]
    predicted = {"predicted_token_s": planned["generate"]["token_s"], "lanes": planned["generate"]["lanes"]}
    return {**_json(["-c", WRITER, *arguments]), **predicted}


def _json(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"failed: {' '.join(arguments)[:200]}\n{done.stderr[-3000:]}", file=sys.stderr, flush=True)
        return {"reason": last}
    start = done.stdout.index("{")
    return dict(json.loads(done.stdout[start:]))


def _tell(rows: list[dict[str, Any]]) -> None:
    """A table for the README, with tokens compared with those of the first way that has any."""
    print("| batch | way | tokens/s | first token | token to token | predicted | same tokens |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    reference = next((row["tokens"] for row in rows if "tokens" in row), None)
    for row in rows:
        if "reason" in row:
            print(f"| {row['batch']} | {row['way']} | {row['reason'][:120]} | | | | |")
            continue
        rate = sum(map(len, row["tokens"])) / row["seconds"]
        predicted = f"{1e3 * row['predicted_token_s']:.2f} ms" if "predicted_token_s" in row else ""
        same = _same(row["tokens"], reference or [])
        times = f"{1e3 * row['first_token_s']:.1f} ms | {1e3 * row['token_s']:.2f} ms"
        print(f"| {row['batch']} | {row['way']} | {rate:.1f} | {times} | {predicted} | {same:.0%} |", flush=True)


def _same(tokens: list[list[int]], reference: list[list[int]]) -> float:
    """Share of tokens before the first that differs, over all sequences."""
    pairs = [(one, other) for one, other in zip(tokens, reference, strict=True)]
    equal = sum(next((i for i, (a, b) in enumerate(zip(*pair)) if a != b), len(pair[0])) for pair in pairs)  # noqa: B905
    return equal / sum(len(one) for one in tokens)


if __name__ == "__main__":
    main()
