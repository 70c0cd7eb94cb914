"""Models larger than a device: planned and checked in windows, predicted peaks against measured, figures of windows.

Each step is a command of partkit's as a user types it; its result goes into OUT as JSON and into a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]

HOLDER = """
import sys, time, torch
left, index = int(sys.argv[1]), int(sys.argv[2])
torch.cuda.set_device(index)
free = torch.cuda.mem_get_info(index)[0]
held = torch.empty(max(free - left, 0), dtype=torch.uint8, device=f"cuda:{index}")
print(torch.cuda.mem_get_info(index)[0], flush=True)
time.sleep(3600)
"""


def partkit(out: Path, name: str, *arguments: str, limit_s: float) -> dict:
    """A command's JSON document, with the seconds that it took and its error, if any."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "partkit_cli", *arguments, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
        code, text, words = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        code, text, words = 124, "", str(error.stderr)[-2000:]
    found = json.loads(text) if text.strip().startswith("{") else {"kind": "error", "message": words[-2000:]}
    found |= {"seconds": round(time.perf_counter() - begin, 1), "exit_code": code}
    (out / f"{name}.json").write_text(json.dumps(found, indent=1))
    if code:
        (out / f"{name}.err").write_text(words)
    return found


@contextlib.contextmanager
def tenants(num_devices: int, left_bytes: int) -> Iterator[None]:
    """Other processes that leave only so much of each GPU."""
    processes = [
        subprocess.Popen([sys.executable, "-c", HOLDER, str(left_bytes), str(index)], stdout=subprocess.PIPE, text=True)
        for index in range(num_devices)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            print("left free:", process.stdout.readline().strip())
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def peaks(plan: dict, run: dict) -> str:
    """Predicted and measured peak of each stage's rank, in MB, and how far apart they are."""
    told, stages, ranks = [], plan["stages"], run["ranks"]
    predictions = [stage["peak_bytes"] for stage in stages]
    if len(ranks) < len(stages):  # one rank hosts them all
        predictions = [sum(predictions)]
    for predicted, rank in zip(predictions, ranks, strict=True):
        measured = rank["peak_bytes"]
        told.append(f"{predicted / 1e6:.0f}/{measured / 1e6:.0f} ({100 * (predicted / measured - 1):+.1f}%)")
    return ", ".join(told)


def planned_and_run(out: Path, name: str, model: list[str], *, limit_s: float, extra: list[str], devices: str) -> None:
    """Plan a model for two stages, run it checked, and print one line."""
    path = str(out / f"{name}.plan.json")
    plan = partkit(out, f"{name}-plan", "plan", *model, "--stages", "2", "--exact", "-o", path, *extra, limit_s=limit_s)
    if plan["exit_code"]:
        print(f"{name}: plan failed after {plan['seconds']} s: {plan.get('message')}")
        return
    on = ["--devices", devices] if devices else []
    run = partkit(out, f"{name}-run", "run", path, "--seconds", "3", *on, *extra, limit_s=limit_s)
    if run.get("kind") == "error":
        print(f"{name}: run failed after {run['seconds']} s: {run.get('message')}")
        return
    check = run["check"]
    print(
        f"{name}: plan {plan['seconds']} s, run {run['seconds']} s, {run['steady_samples_per_s']:.4g}/s, "
        f"prediction error {run['prediction_error']:.3f}, efficiency {run['bottleneck_efficiency']:.3f}, difference "
        f"{check['max_abs_diff']}, peaks MB {peaks(plan, run)}; {'; '.join([*run['warnings'], *run.get('notes', [])])}",
        flush=True,
    )


def huge_model(out: Path, times: float) -> list[str]:
    """A Llama shape (that of Llama-2 70B, as many layers as needed) of ``times`` one GPU's whole memory in bfloat16."""
    import torch

    hidden, inner, vocabulary, heads, groups = 8192, 28672, 32000, 64, 8
    layer = 2 * hidden * hidden * (1 + groups / heads) + 3 * hidden * inner
    wanted = times * torch.cuda.get_device_properties(0).total_memory / 2
    layers = -int(-(wanted - 2 * vocabulary * hidden) // layer)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    folder = out / "huge-llama"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    print(f"huge: {layers} layers, {2e-9 * (layers * layer + 2 * vocabulary * hidden):.1f} GB of weights")
    return [f"hf:{folder}", "--dtype", "bfloat16"]


def windows_against_whole(out: Path, name: str, model: list[str], share: float, *, limit_s: float) -> None:
    """Stage times by a whole profile and by one measured in windows, for the same cut."""
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile

    paths = [out / f"{name}-{kind}.profile.json" for kind in ("whole", "parts")]
    whole = partkit(out, f"{name}-whole", "profile", *model, "-o", str(paths[0]), limit_s=limit_s)
    if whole["exit_code"]:
        print(f"{name}: {whole.get('message')}")
        return
    total = sum(Profile.load(paths[0]).parameters.values())
    budget = str(int(share * total))
    parts = partkit(out, f"{name}-parts", "profile", *model, "-o", str(paths[1]), "--memory", budget, limit_s=limit_s)
    if parts["exit_code"]:
        print(f"{name}: {parts.get('message')}")
        return
    path = out / f"{name}-cut.plan.json"
    partkit(out, f"{name}-cut", "plan", str(paths[0]), "--stages", "2", "--exact", "-o", str(path), limit_s=limit_s)
    plan, told = Plan.load(path), []
    for stage in plan.stages:
        own = set(stage.nodes)
        sums = [
            sum(node.time_s for node in profile.nodes if node.name in own) * profile.calibration.scale
            for profile in map(Profile.load, paths)
        ]
        told.append(f"{1e3 * sums[0]:.4g} and {1e3 * sums[1]:.4g} ms ({100 * (sums[1] / sums[0] - 1):+.1f}%)")
    windows = Profile.load(paths[1]).provenance.get("windows")
    print(
        f"{name}: {windows} windows, stages {', '.join(told)}; {whole['seconds']} and {parts['seconds']} s", flush=True
    )


def compared_side_by_side(out: Path, plan: str, chosen: str) -> None:
    """One ``compare`` of these executors: a line a row."""
    name = f"compare-{chosen.replace(',', '-')}"
    compared = partkit(out, name, "compare", plan, "--quick", "--with", chosen, limit_s=200)
    for row in compared.get("rows", ()):
        print(row["executor"], row["status"], row["samples_per_s"], row["max_abs_diff"], row["reason"], flush=True)
    print(compared.get("verdict", {}).get("text"), compared.get("message", ""), compared["seconds"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", default="peaks,windows,tight,huge")
    parser.add_argument("--devices", default="", help="0,0: both stages on one GPU")
    parser.add_argument(
        "--executors",
        default="pipeline,split,fsdp,tp,accelerate,single",
        help="of the tight step; / begins a new compare",
    )
    parser.add_argument("--times", type=float, default=1.1, help="one GPU's memory is the huge model's weights")
    parser.add_argument("--models", default="bert,vit-large,llama-1b,t5-base", help="presets of the windows step")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    steps = given.steps.split(",")
    if "peaks" in steps:
        for name, model in {
            "bert": ["bert"],
            "bert-bf16": ["bert", "--dtype", "bfloat16"],
            "gpt2": ["gpt2"],
            "vit-b8": ["vit", "--batch", "8"],
            "bert-large-b8": ["bert-large", "--batch", "8"],
        }.items():
            planned_and_run(given.out, name, model, limit_s=120, extra=[], devices=given.devices)
    if "windows" in steps:
        for name in given.models.split(","):
            windows_against_whole(given.out, f"{name}-win", [name], 0.36, limit_s=120)
    llama = ["llama-7b", "--dtype", "bfloat16"]
    if "small-budget" in steps:
        planned_and_run(given.out, "llama-7b-5GB", llama, limit_s=200, extra=["--memory", "5GB"], devices=given.devices)
    if "huge" in steps:
        model = huge_model(given.out, given.times)
        planned_and_run(given.out, "huge", model, limit_s=290, extra=[], devices="")
    if "tight" in steps:
        with tenants(2, 9_000_000_000):
            planned_and_run(given.out, "llama-7b-9GB-free", llama, limit_s=240, extra=[], devices="")
            path = str(given.out / "llama-7b-9GB-free.plan.json")
            for chosen in given.executors.split("/"):
                compared_side_by_side(given.out, path, chosen)


if __name__ == "__main__":
    main()
