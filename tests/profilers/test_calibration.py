"""Calibrations: what was timed is what is told, between points it is between, and a known device comes out again."""

from __future__ import annotations

import pytest

from partkit.data.device_calibration import CalibrationPoint, DeviceCalibration, told_calibration
from partkit.data.profile import Calibration, Node, Profile, ProfiledDevice
from partkit.errors import FormatError, MachineError
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from partkit.profilers.analytic import Kernel, analytic_times, kernel_of
from partkit.profilers.calibration_grid import gauges_for
from partkit.profilers.nominal import calibration_for, calibration_path, nominal_device, short_name_of
from partkit.runs.calibrate import calibration_of
from partkit.runs.profile_model import profile_model


def point(flop: int, moved: int, factor: float, **more: str) -> CalibrationPoint:
    named = {"family": "product", "operation": "aten.addmm", "dtype": "float32", **more}
    return CalibrationPoint(flop=flop, moved_bytes=moved, seconds=factor * 1e-6, nominal_s=1e-6, **named)


def calibration(*points: CalibrationPoint, **more: object) -> DeviceCalibration:
    return DeviceCalibration(nominal="h100", device="a card", points=points, **more)  # type: ignore[arg-type]


def test_a_point_is_told_as_it_was_timed_and_a_place_between_two_lies_between_them() -> None:
    found = calibration(point(10**6, 10**4, 8.0), point(10**9, 10**7, 2.0))
    assert found.factor("product", "aten.addmm", "float32", 10**6, 10**4) == pytest.approx(8.0, rel=0.01)
    assert found.factor("product", "aten.addmm", "float32", 10**9, 10**7) == pytest.approx(2.0, rel=0.01)
    between = found.factor("product", "aten.addmm", "float32", 31_622_776, 316_227)
    assert between == pytest.approx(4.0, rel=0.01), "half way in the logarithms of both"


def test_families_and_dtypes_are_kept_apart_and_an_unknown_family_is_as_published() -> None:
    found = calibration(point(10**6, 10**4, 8.0), point(10**6, 10**4, 3.0, dtype="bfloat16"))
    assert found.factor("product", "aten.addmm", "bfloat16", 10**6, 10**4) == pytest.approx(3.0)
    assert found.factor("product", "aten.addmm", "float16", 10**6, 10**4) > 3.0, "of other dtypes, not of none"
    assert found.factor("other", "aten.gelu", "float32", 0, 10**4) == 1.0


def test_the_residual_of_a_point_is_what_the_others_say_of_it() -> None:
    found = calibration(point(10**6, 10**4, 2.0), point(10**6, 10**4, 4.0))
    assert found.residuals() == pytest.approx([1.0, -0.5])
    assert told_calibration(found)["median_error"] == 1.0
    assert calibration(point(1, 1, 2.0)).residuals() == ()


def test_every_gauge_of_the_grid_is_one_kernel_with_the_flops_of_its_shapes() -> None:
    gauges = gauges_for("cpu", ["float32"])
    kernels = [kernel_of(gauge) for gauge in gauges]
    assert all(kernels)
    linear = next(gauge for gauge in gauges if gauge.args[0]["tensor"]["shape"] == [1, 128, 768])
    assert kernel_of(linear) == Kernel(2 * 128 * 768 * 768, 4 * (128 * 768 * 2 + 768 * 768 + 768), "float32")
    assert {gauge.operation for gauge in gauges} >= {"aten.linear.default", "aten.conv2d.default", "aten.gelu.default"}
    assert len(gauges_for("cuda", ["float32"])) > len(gauges)


def test_a_device_that_is_three_times_slower_than_published_comes_out_so_and_its_anchor_exactly() -> None:
    """Seconds are made up: three times the published; the anchor took 1.5 times its operations alone."""
    spec = parse_model("bert-tiny")
    device = nominal_device("cpu-core")
    kernels = [kernel for gauge in gauges_for("cpu", ["float32"]) if (kernel := kernel_of(gauge))]
    seconds = [3 * device.kernel_time_s(each.flop, each.moved_bytes, each.dtype) for each in kernels]
    captured = capture(load_model(spec))
    published_s = sum(analytic_times(captured, device).values())
    anchor = Profile(
        model=spec,
        device=ProfiledDevice(type="cpu", name="x", num_threads=1),
        nodes=(Node(name="all", time_s=3 * published_s),),
        edges=(),
        calibration=Calibration(scale=1.5),
    )
    found = calibration_of(kernels, seconds, [anchor], "cpu", 1)
    assert (found.nominal, found.threads) == ("cpu-core", 1)
    assert found.in_model["float32"] == pytest.approx(1.5, rel=1e-3)
    assert sum(analytic_times(captured, device, found).values()) == pytest.approx(4.5 * published_s, rel=1e-3)
    assert max(map(abs, found.residuals())) < 1e-6


def test_a_gpu_without_published_figures_is_refused() -> None:
    anchor = Profile(device=ProfiledDevice(type="cuda", name="NVIDIA GeForce 9"), nodes=(), edges=())
    with pytest.raises(MachineError, match="no published figures are known of NVIDIA GeForce 9"):
        calibration_of([], [], [anchor], "cuda", 1)
    assert short_name_of("cuda", "NVIDIA H200") == "h200"


def test_a_kept_calibration_corrects_analytic_profiles_and_a_file_does_anywhere(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = profile_model("bert-tiny", analytic="h100")
    assert calibration_for("h100") is None
    families = ("product", "attention", "convolution", "other")
    found = calibration(*(point(10**6, 10**4, 2.0, family=family) for family in families))
    path = str(found.save(tmp_path / "h100.json"))
    by_file = profile_model("bert-tiny", analytic=path)
    found.save(calibration_path("h100"))
    kept = profile_model("bert-tiny", analytic="h100")
    for corrected in (by_file, kept):
        assert sum(node.time_s for node in corrected.nodes) == pytest.approx(2 * sum(n.time_s for n in plain.nodes))
        assert corrected.provenance["calibration"]["device"] == "a card"
    with pytest.raises(FormatError):
        nominal_device(str(tmp_path / "none.json"))
