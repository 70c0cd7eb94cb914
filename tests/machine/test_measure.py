import pytest

from partkit.machine.gpu_sampler import GpuSampler, means_of_stretches
from partkit.runs.statistics import percentile
from partkit.transport.probe import SIZES_BYTES, fit_link


def test_percentiles_are_of_the_samples_themselves() -> None:
    samples = [float(value) for value in range(100)]
    assert [percentile(samples, share) for share in (0.0, 0.5, 0.95, 1.0)] == [0.0, 50.0, 95.0, 99.0]


def test_no_gpu_gives_no_figures_and_no_fuss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partkit.machine.gpu_sampler.nvml_handle", lambda _: None)
    sampler = GpuSampler(0)
    sampler.start()
    assert sampler.stop() is None


def test_gpu_use_over_time_is_that_of_equal_stretches() -> None:
    assert means_of_stretches([10.0, 20.0], 60) == (10.0, 20.0)
    found = means_of_stretches([float(value) for value in range(1000)], 60)
    assert len(found) == 60
    assert sum(found) / 60 == pytest.approx(499.5, rel=0.01)


def test_a_link_is_fitted_to_latency_and_bandwidth() -> None:
    latency_s, bytes_per_s = fit_link([5e-6 + size / 2e9 for size in SIZES_BYTES])
    assert latency_s == pytest.approx(5e-6)
    assert bytes_per_s == pytest.approx(2e9)
