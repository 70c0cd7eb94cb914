"""``partkit run --inputs --outputs``: a plan on the items of a file, each once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partkit.errors import UsageError
from partkit_cli.output import Output

if TYPE_CHECKING:
    from partkit.data.plan import Plan
    from partkit.data.result import RunResult
    from partkit.ranks.run_options import RunOptions


def run_items(
    plan: Plan,
    inputs: Path | None,
    outputs: Path | None,
    options: RunOptions,
    output: Output,
    without_meaning: Sequence[str],
    *,
    restarts: int,
    replan: bool,
) -> RunResult:
    """Take every item of ``inputs`` through the plan's pipeline and write what comes out to ``outputs``.

    ``without_meaning`` are options that were given and measure or feed in another way. Raises :class:`UsageError` for
    them, and what can be said against the file, before anything is started. ``restarts`` and ``replan`` are those of
    :func:`partkit.open_pipeline`.
    """
    if inputs is None or outputs is None:
        raise UsageError("--inputs and --outputs go together", hint="give both, or neither to measure the plan")
    if without_meaning:
        raise UsageError(
            f"--inputs runs each item of a file once, and {', '.join(without_meaning)} cannot change that",
            hint="leave it out",
        )
    from partkit.ranks.fork_client import prepare
    from partkit.runs.item_shapes import item_shapes, require_outputs

    require_outputs(inputs, outputs)
    item_shapes(inputs, plan.model, options.sizes)
    prepare()  # before what takes seconds to import
    from partkit.runs.item_files import run_file

    with output.progress() as progress:
        result = run_file(plan, inputs, outputs, options, progress, restarts=restarts, replan=replan)
    output.note(f"wrote {outputs}: {result.items} items")
    return result
