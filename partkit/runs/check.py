"""Outputs against the unsplit model's, which a process of its own computes from the same weights and inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from partkit.data.job import RunJob
from partkit.data.model import ModelSpec
from partkit.data.orders import CheckOutputs, Load, WriteReference
from partkit.data.progress import Progress, silent
from partkit.data.replies import CastError, Loaded, OutputDifference
from partkit.data.result import Check
from partkit.errors import OutOfMemoryError, UnsupportedError
from partkit.ranks.group import RankGroup, Ranks
from partkit.ranks.own_folder import FOLDER_PREFIX

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest allowed difference of outputs by dtype, times the largest reference output where that is above 1."""

TF32_TOLERANCE = 1e-2
"""The same for float32 with TF32 products, which keep 10 bits of each operand (as float16 does)."""

CAST_TOLERANCES = {"float16": 0.05, "bfloat16": 0.25}
"""Largest share of an output's largest number that a cast of weights and inputs explains, by dtype: bfloat16 keeps 8
bits, and their rounding adds up through tens of layers."""

_CHECKED_ITEMS = 12
"""Enough for every slot of two replicas to be used again: what would overwrite an item early shows then."""


def make_reference(job: RunJob, folder: Path, tell: Progress = silent, *, may_stream: bool = True) -> Path:
    """Outputs of the unsplit model for the checked items, written to a file in ``folder`` by a process of its own.

    Where the job's first device does not hold the model, the uncut graph runs there in windows, its weights streamed
    through once; ``may_stream=False`` raises :class:`OutOfMemoryError` or :class:`UnsupportedError` instead.
    """
    tell("Running the unsplit model", 0, 0)
    try:
        return _reference_of(unsplit_job(job), folder)
    except (OutOfMemoryError, UnsupportedError):
        if not may_stream:
            raise
    tell("Running the unsplit model in parts", 0, 0)
    return _reference_of(unsplit_job(job, "streamed"), folder)


def _reference_of(job: RunJob, folder: Path) -> Path:
    with RankGroup(job) as group:
        group.call(Load())
        return write_reference(group, folder)


def unsplit_job(job: RunJob, executor: str = "single") -> RunJob:
    """The order for one rank that runs the unsplit model, on the job's first device."""
    update = {"executor": executor, "devices": job.devices[:1], "host_by_place": (), "device_by_place": ()}
    return job.model_copy(update=update)


def write_reference(single: RankGroup[RunJob], folder: Path) -> Path:
    """Outputs for each distinct input, by a loaded group of the unsplit model."""
    path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=folder)) / "reference.safetensors"
    single.call(WriteReference(num_items=single.job.num_inputs, path=str(path)))
    return path


def items_at_once(loaded: Sequence[Loaded]) -> int:
    """Items that the ranks' launches take, by their replies to the order to load."""
    return max(reply.items_at_once for reply in loaded)


def check_outputs(group: Ranks[RunJob], reference: Path | None, *, at_once: int = 1) -> Check:
    """Compare a group's outputs with the reference's; ``at_once`` items fill a launch."""
    if reference is None:
        return judged([], group.job)
    replies = group.call(
        CheckOutputs(num_items=max(_CHECKED_ITEMS, 3 * group.job.num_slots, at_once), reference=str(reference))
    )
    return judged([reply.difference for reply in replies], group.job, ran=True)


def tolerance_of(spec: ModelSpec) -> float:
    """Largest difference of outputs that a model's precision allows, where the largest output is 1 or less."""
    return TF32_TOLERANCE if spec.tf32 and spec.dtype == "float32" else TOLERANCES[spec.dtype]


def judged(differences: Sequence[OutputDifference | None], job: RunJob, *, ran: bool = False) -> Check:
    """Combine ranks' output differences into a check, by what the model's precision allows.

    None stands for a rank that returned nothing; ``ran``: some rank must have returned outputs.
    """
    spec = job.model
    allowed = tolerance_of(spec)
    told = [each for each in differences if each is not None]
    if not told:
        return Check(max_abs_diff=None, tolerance=allowed, passed=False if ran else None)
    tolerance = allowed * max(1.0, *(each.max_abs for each in told))
    finite = [each.max_abs_diff for each in told if each.max_abs_diff is not None]
    worst = max(finite) if len(finite) == len(told) else None
    passed: bool | None = all(each.matches for each in told) and worst is not None and worst <= tolerance
    furthest = max(told, key=lambda each: (not each.matches, each.max_abs_diff is None, each.max_abs_diff or 0.0))
    cast_error = told[0].cast_error
    return Check(
        max_abs_diff=worst,
        tolerance=tolerance,
        passed=passed if not passed or any(each.has_finite for each in told) else None,
        difference=None if passed else furthest.what,
        cast_error=None if cast_error is None else cast_error.max_abs_diff,
        warnings=(*_of_numbers(told), *_of_cast(cast_error, spec.dtype)),
    )


def _of_numbers(told: Sequence[OutputDifference]) -> list[str]:
    names = list(dict.fromkeys(name for each in told for name in each.not_finite))
    if not names:
        return []
    return [f"{', '.join(names)} of the unsplit model hold no finite number, which agreement tells nothing about"]


def _of_cast(error: CastError | None, dtype: str) -> list[str]:
    allowed = CAST_TOLERANCES.get(dtype, 0.0)
    if error is None or error.share <= allowed:
        return []
    return [
        f"outputs in {dtype} are off by {error.max_abs_diff:.2g} from those of the model as its author wrote it, "
        f"{100 * error.share:.0f}% of the largest: rounding to {dtype} explains {100 * allowed:.0f}%"
    ]


def worse_of(before: Check, during: Check) -> Check:
    """The worse of two checks: the one before the run, and that of items sampled within it."""
    if during.passed is None:
        return before
    if not during.passed or not before.passed:
        return during if before.passed else before
    return max(before, during, key=lambda check: check.max_abs_diff or 0.0)
