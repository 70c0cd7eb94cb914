"""``partkit run --inputs --outputs``: a plan on the items of a file, instead of measuring it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from partkit.errors import UsageError
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan
    from partkit.ranks.run_options import RunOptions


def run_items(plan: Plan, inputs: Path | None, outputs: Path | None, options: RunOptions, output: Output) -> None:
    """Take every item of ``inputs`` through the plan's pipeline and write its outputs to ``outputs``.

    Raises :class:`UsageError` where only one of the two is given, and what :func:`map_file` raises.
    """
    if inputs is None or outputs is None:
        raise UsageError("--inputs and --outputs go together", hint="give both, or neither to measure the plan")
    from partkit.runs.item_files import map_file
    from partkit.runs.open_pipeline import open_pipeline

    begin = time.perf_counter()
    with (
        output.progress() as progress,
        open_pipeline(
            plan,
            device=options.device,
            threads=options.threads,
            devices=options.devices,
            allow_code=options.allow_code,
        ) as pipeline,
    ):
        count = map_file(pipeline, inputs, outputs, progress)
    output.json({"kind": "items", "items": count, "seconds": time.perf_counter() - begin, "outputs": str(outputs)})
    output.note(f"wrote {outputs}: {count} items")
