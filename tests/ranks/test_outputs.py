import math
from pathlib import Path

import pytest
import torch
from torch import nn

from partkit.data.job import RunJob
from partkit.data.replies import CastError, OutputDifference
from partkit.executors.protocol import RankContext, Trace, flat_outputs
from partkit.models.inputs import split_arguments
from partkit.models.of_job import item_inputs
from partkit.models.sources import load_model
from partkit.ranks.cast_error import measure_cast_error
from partkit.ranks.outputs import compare_outputs, write_outputs
from partkit.ranks.outputs import difference as largest_difference
from partkit.stages.cut import Leaves
from tests.planned import plan_of

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("given", "reference", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([INF, NAN, -INF], [INF, NAN, -INF], 0.0),
        ([1.0, INF], [1.5, INF], 0.5),
        ([INF], [-INF], INF),
        ([NAN], [1.0], INF),
        ([1.0], [NAN], INF),
        ([], [], 0.0),
    ],
)
def test_outputs_differ_only_where_they_are_not_the_same_number(
    given: list[float], reference: list[float], difference: float
) -> None:
    assert largest_difference(torch.tensor(given), torch.tensor(reference)) == difference


ONES = torch.ones(2, 3)
NAMES = ("logits", "hidden.0")


def compared(
    folder: Path, given: Leaves, wanted: Leaves, names: tuple[str, ...] = ("logits", "hidden.0")
) -> OutputDifference:
    own = [None if leaf is None else leaf.clone() for leaf in wanted]
    write_outputs(Trace(outputs={0: own}, names=names), folder / "reference.safetensors")
    found = compare_outputs(Trace(outputs={4: given}), folder / "reference.safetensors", num_inputs=4)
    assert found is not None
    return found


def changed(tensor: torch.Tensor, *places: tuple[int, ...], by: complex = 1) -> torch.Tensor:
    copy = tensor.clone()
    for number, place in enumerate(places, start=1):
        copy[place] += by * number
    return copy


LARGE = torch.tensor([2**60, 2**60 + 1])
FIRST, SECOND, FLOAT = "output logits of item 4", "output hidden.0 of item 4", "float32 of shape [2, 3]"


def elements(count: int, total: int, first: list[int], most: list[int] | None = None) -> str:
    told = f"{count} of {total} elements differ, the first at {first}"
    return f"{told}, the most at {first if most is None else most}"


@pytest.mark.parametrize(
    ("given", "wanted", "what"),
    [
        ([ONES], [ONES, ONES], "1 outputs, and the unsplit model returns 2"),
        ([ONES, None], [ONES, ONES], f"{SECOND} is no tensor, and the unsplit model's {FLOAT}"),
        ([ONES.view(3, 2)], [ONES], f"{FIRST} is float32 of shape [3, 2], and the unsplit model's {FLOAT}"),
        ([ONES.long()], [ONES], f"{FIRST} is int64 of shape [2, 3], and the unsplit model's {FLOAT}"),
        (
            [ONES, changed(ONES, (0, 1), (1, 2))],
            [ONES, ONES],
            f"{SECOND}: {elements(2, 6, [0, 1], [1, 2])}: 3 and not 1",
        ),
        ([ONES, ONES], [ONES, changed(ONES, (1, 0), by=NAN)], f"{SECOND}: {elements(1, 6, [1, 0])}: 1 and not nan"),
        ([changed(LARGE, (1,))], [LARGE], f"{FIRST}: {elements(1, 2, [1])}: {2**60 + 2} and not {2**60 + 1}"),
        (
            [changed(ONES.cfloat(), (1, 0), by=0.5j)],
            [ONES.cfloat()],
            f"{FIRST}: {elements(1, 12, [1, 0, 1])}: 0.5 and not 0",
        ),
        ([ONES.sum()], [ONES.sum() * 2], f"{FIRST}: {elements(1, 1, [])}: 6 and not 12"),
    ],
    ids=["number", "kind", "shape", "whole numbers", "values", "no number", "large numbers", "imaginary", "one number"],
)
def test_what_differs_is_told_by_output_and_place(tmp_path: Path, given: Leaves, wanted: Leaves, what: str) -> None:
    found = compared(tmp_path, given, wanted)
    assert found.what == what
    assert not found.matches or found.max_abs_diff


def test_a_coarser_dtype_with_the_same_numbers_is_no_difference(tmp_path: Path) -> None:
    found = compared(tmp_path, [ONES.bfloat16(), None], [ONES, None])
    assert (found.matches, found.max_abs_diff, found.what) == (True, 0.0, None)


def test_outputs_without_a_finite_number_are_named(tmp_path: Path) -> None:
    nothing, whole = torch.full((2,), NAN), torch.tensor([1, 2])
    found = compared(tmp_path, [nothing, whole], [nothing, whole])
    assert (found.matches, found.max_abs_diff, found.not_finite, found.has_finite) == (
        True,
        0.0,
        ("output logits",),
        True,
    )
    found = compared(tmp_path, [nothing, None], [nothing, None])
    assert (found.not_finite, found.has_finite) == (("output logits",), False)


class Angles(nn.Module):
    """Positions that bfloat16 cannot hold: their sines are other numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("positions", torch.arange(1000.0, 1064.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.positions)[:, None] + 0.01 * self.layer(x)


def angles() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Angles(), (torch.randn(1, 4),)


def cast_error(source: str, dtype: str | None) -> CastError | None:
    job = RunJob(executor="single", plan=plan_of(source, 2, executor="single", dtype=dtype), allow_code=True)
    loaded = load_model(job.model)
    outputs: dict[int, Leaves] = {}
    with torch.no_grad():
        inputs = dict(zip([each.name for each in loaded.spec.inputs], item_inputs(job.fed, 0, 4, loaded), strict=True))
        args, kwargs = split_arguments(loaded, inputs)
        outputs[0] = flat_outputs(loaded.materialise()(*args, **kwargs))
    return measure_cast_error(RankContext(job, 0, 1, torch.device("cpu"), None), outputs)


def test_damage_by_a_cast_is_measured_against_the_model_as_its_author_wrote_it() -> None:
    error = cast_error("py:tests.ranks.test_outputs:angles", "bfloat16")
    assert error is not None
    assert error.max_abs_diff > 0.5
    assert error.share > 0.5


@pytest.mark.parametrize("source", ["bert-tiny", "py:tests.models.sources.test_casting:kinds"])
def test_a_cast_that_rounds_and_no_more_is_within_the_tolerance_of_its_dtype(source: str) -> None:
    error = cast_error(source, "bfloat16")
    assert error is not None
    assert 0 < error.share < 0.1


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_a_model_that_nothing_was_cast_in_is_its_own_reference(dtype: str | None) -> None:
    assert cast_error("py:tests.ranks.test_outputs:angles", dtype) is None
