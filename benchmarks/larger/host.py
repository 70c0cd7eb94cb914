"""Anonymous memory of every process while a 12 GB model is planned (measured) and run (checked) on the CPU.

    PYTHONPATH=.:cli python3 benchmarks/larger/host.py --folder /tmp/llama-3b [--seeded] [--layers 26]

The folder gets a Llama-shaped float32 checkpoint of random numbers, in shards of a layer each, or, with ``--seeded``, a
configuration alone, so that weights are drawn from a seed. Both are planned and run in bfloat16, four stages. Twice a
second ``RssAnon`` of each process of the command is read: what the system cannot drop and read again, unlike the mapped
pages of the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import torch
from safetensors.torch import save_file

_HIDDEN, _INNER, _VOCABULARY = 3072, 8192, 32_000
_NUM_STAGES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=26)
    parser.add_argument("--memory", default="1GB", help="of the unsplit model at once")
    parser.add_argument("--seq", default="32")
    parser.add_argument("--seeded", action="store_true")
    options = parser.parse_args()
    _write_configuration(options.folder, options.layers)
    if not options.seeded:
        _write_weights(options.folder, options.layers)
    num_bytes = sum(file.stat().st_size for file in options.folder.glob("*.safetensors"))
    print(f"{num_bytes / 1e9:.1f} GB of weights in {options.folder}", flush=True)
    plan = str(options.folder / "plan.json")
    common = ["--memory", options.memory, "--json"]
    model = ["--dtype", "bfloat16", "--seq", options.seq, "--device", "cpu"]
    stages = ["--stages", str(_NUM_STAGES), "--exact", "-o", plan]
    _watched("plan", ["plan", f"hf:{options.folder}", *model, *stages, "--refresh", *common])
    run = _watched("run", ["run", plan, "--device", "cpu", "--items", "8", "--quick", *common])
    print(f"check {run['check']}, prediction error {run['prediction_error']}")


def _write_configuration(folder: Path, num_layers: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": num_layers,
        "num_attention_heads": _HIDDEN // 128,
        "num_key_value_heads": _HIDDEN // 128,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": 4096,
        "torch_dtype": "float32",
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(configuration), encoding="utf-8")


def _write_weights(folder: Path, num_layers: int) -> None:
    """A shard a layer, and one for the rest: never more than one in memory."""
    index: dict[str, str] = {}

    def write(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
        file = f"{name}.safetensors"
        index.update(dict.fromkeys(shapes, file))
        if not (folder / file).exists():
            torch.manual_seed(len(index))
            save_file({key: torch.randn(shape) * 0.02 for key, shape in shapes.items()}, folder / file)

    ends = {"model.embed_tokens.weight": (_VOCABULARY, _HIDDEN), "lm_head.weight": (_VOCABULARY, _HIDDEN)}
    write("ends", {**ends, "model.norm.weight": (_HIDDEN,)})
    square, wide = (_HIDDEN, _HIDDEN), (_INNER, _HIDDEN)
    for layer in range(num_layers):
        parts = {f"self_attn.{name}_proj": square for name in "qkvo"}
        parts |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": (_HIDDEN, _INNER)}
        parts |= {"input_layernorm": (_HIDDEN,), "post_attention_layernorm": (_HIDDEN,)}
        write(f"layer{layer:02d}", {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}), encoding="utf-8")


def _watched(name: str, arguments: list[str]) -> dict:
    """A command's document, with the most anonymous memory of any of its processes told."""
    begin = time.perf_counter()
    command = subprocess.Popen([sys.executable, "-m", "partkit_cli", *arguments], stdout=subprocess.PIPE, text=True)
    most: dict[int, int] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(command.pid, most, ended))
    watcher.start()
    text, _ = command.communicate()
    ended.set()
    watcher.join()
    largest = ", ".join(f"{size / 1e9:.2f}" for size in sorted(most.values(), reverse=True)[:6])
    print(f"{name}: {time.perf_counter() - begin:.0f} s, exit code {command.returncode}", flush=True)
    print(f"  largest anonymous memory of its processes, GB: {largest}", flush=True)
    if command.returncode:
        sys.exit(text[-2000:])
    return json.loads(text)


def _watch(pid: int, most: dict[int, int], ended: threading.Event) -> None:
    while not ended.wait(0.5):
        try:
            every = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in every:
            most[process.pid] = max(most.get(process.pid, 0), _anonymous_bytes(process.pid))


def _anonymous_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    (line, *_) = [line for line in status.splitlines() if line.startswith("RssAnon")] or ["RssAnon: 0 kB"]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
