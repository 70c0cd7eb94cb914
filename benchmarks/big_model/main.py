"""A 6 GB model in 4 stages on the CPU: what planning it and each rank's stage take of the host's memory."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]
from checkpoint import write_checkpoint  # noqa: E402

IMPORTS = (
    "import partkit_cli.main, partkit.ranks.rank, partkit.runs.profile_model; from transformers import LlamaForCausalLM"
)
FACTOR, ALLOWANCE_BYTES, PLANNING_BYTES = 1.25, 600_000_000, 1_000_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=6.0, help="float32 parameters, in 1e9 bytes")
    parser.add_argument("--dtype", default="float32", help="dtype to load as; another than float32 is cast")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/partkit-big-model"))
    options = parser.parse_args()
    total = write_checkpoint(options.folder, gigabytes=options.gigabytes)
    num_shards = len(list(options.folder.glob("*.safetensors")))
    print(f"{total / 1e9:.2f} GB of float32 parameters in {num_shards} safetensors files, loaded as {options.dtype}\n")
    plan_file, run_file = options.folder / "plan.json", options.folder / "run.json"
    imports_bytes = peak_bytes([sys.executable, "-c", IMPORTS])
    planning_bytes = peak_bytes(
        partkit(
            *("plan", f"hf:{options.folder}", "--dtype", options.dtype, "--seq", "8", "--stages", "4"),
            *("--analytic", "cpu-core", "-o", str(plan_file), "--quiet"),
        )
    )
    peak_bytes(partkit("run", str(plan_file), "--device", "cpu", "--items", "3", "-o", str(run_file), "--quiet"))
    run = json.loads(run_file.read_text())
    passed = print_table(json.loads(plan_file.read_text()), run, imports_bytes, planning_bytes)
    check = run["check"]
    print(f"\noutputs against the unsplit model: largest difference {check['max_abs_diff']}, passed {check['passed']}")
    return 0 if passed and check["passed"] else 1


def print_table(plan: dict, run: dict, imports_bytes: int, planning_bytes: int) -> bool:
    """A row for planning and for each rank; True when every row keeps to its limit."""
    print("| process | parameters | host peak | above imports | limit | |\n|---|---|---|---|---|---|")
    planning_limit = imports_bytes + PLANNING_BYTES
    rows = [("plan", 0, planning_bytes, planning_limit)]
    for stage, rank in zip(plan["stages"], run["ranks"], strict=True):
        limit = int(FACTOR * stage["param_bytes"]) + ALLOWANCE_BYTES
        rows.append((f"rank {rank['rank']}", stage["param_bytes"], rank["host_peak_bytes"], limit))
    for name, held, peak, limit in rows:
        figures = " | ".join(f"{value / 1e9:.2f} GB" for value in (held, peak, peak - imports_bytes, limit))
        print(f"| {name} | {figures} | {'within' if peak <= limit else 'OVER'} |")
    print(f"\nimports alone (torch, transformers, partkit): {imports_bytes / 1e9:.2f} GB")
    return all(peak <= limit for _, _, peak, limit in rows)


def partkit(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "partkit_cli", *arguments]


def peak_bytes(command: list[str]) -> int:
    """Run a command to its end and return its largest resident size. Raises where it fails."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
