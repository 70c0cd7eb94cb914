"""What a group of ranks is started for, as ranks read it."""

from __future__ import annotations

import pytest

from partkit.data.job import Job, LinksJob, ProfileJob, RunJob, read_job
from partkit.data.model import ModelSpec
from tests.planned import plan_of


def test_a_job_of_each_kind_is_read_as_it_was_written() -> None:
    plan = plan_of("bert-tiny", 2)
    jobs: list[Job] = [
        LinksJob(devices=(0, 1), threads=2),
        ProfileJob(model=ModelSpec(source="bert-tiny"), device="cuda"),
        RunJob(executor="split", plan=plan, devices=(3,), host_by_place=(0, 0), device_by_place=(3, 1)),
    ]
    assert [read_job(job.model_dump_json()) for job in jobs] == jobs
    assert [job.label for job in jobs] == ["links", "profile", "split"]
    assert [job.num_ranks for job in jobs] == [2, 1, 1]
    assert [job.devices_of(0) for job in jobs] == [(0,), (0,), (1, 3)]


def test_links_are_measured_without_a_model() -> None:
    assert "model" not in LinksJob.model_fields
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        read_job('{"kind": "links", "model": {}}')


def test_a_gpu_is_shared_where_two_ranks_have_its_index() -> None:
    shares = [LinksJob(device="cuda", devices=devices).shares_gpus for devices in ((0, 1), (1, 0, 1))]
    assert shares == [False, True]
    assert not LinksJob(devices=(0, 0)).shares_gpus, "on the CPU an index names nothing"
