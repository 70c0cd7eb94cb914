"""What a rank of a :class:`ProfileJob` does: captures a model, then measures its nodes; times gauges."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import torch

from partkit.data.job import ProfileJob
from partkit.data.orders import CaptureModel, ProfileModel, ProfileOrder, TimeGauges
from partkit.data.progress import ProgressFile
from partkit.data.replies import Done, GaugesTimed, Profiled, Reply
from partkit.models.of_job import capture_job_model, load_job_model
from partkit.profilers.on_device import gauges_on, profile_on
from partkit.ranks.drawn_inputs import with_fitting_inputs
from partkit.ranks.own_folder import require_new_file


class ProfileWork:
    """The one rank of a profile."""

    orders: ClassVar[Any] = ProfileOrder

    def __init__(self, job: ProfileJob, device: torch.device) -> None:
        self._job, self._device = job, device

    def obey(self, order: ProfileOrder) -> Reply:
        """Do one order."""
        match order:
            case CaptureModel():
                return self._capture()
            case ProfileModel():
                return self._profile(order)
            case TimeGauges():
                return GaugesTimed(seconds=tuple(gauges_on(self._device, order.gauges)))

    def turns(self) -> dict[int, int]:
        """There are no stages."""
        return {}

    def close(self) -> None:
        """Nothing is held that the process group needs."""

    def _capture(self) -> Done:
        begin = time.perf_counter()
        loaded = load_job_model(self._job)
        self._captured = loaded, capture_job_model(self._job, loaded)
        self._capture_s = time.perf_counter() - begin
        return Done()

    def _profile(self, order: ProfileModel) -> Profiled:
        path, progress = (require_new_file(Path(each)) for each in (order.path, order.progress))
        loaded, captured = self._captured
        begin = time.perf_counter()
        profile, gauges = profile_on(
            self._device,
            loaded,
            captured,
            threads=self._job.threads,
            memory_bytes=self._job.memory_bytes,
            tell=ProgressFile(progress).write,
        )
        taken = {"capture_s": round(self._capture_s, 3), "profile_s": round(time.perf_counter() - begin, 3)}
        model = with_fitting_inputs(loaded, captured, self._device)  # last: a device assert ends a CUDA context
        profile = profile.model_copy(update={"model": model, "provenance": {**taken, **profile.provenance}})
        profile.save(path)
        return Profiled(num_nodes=len(profile.nodes), gauges=gauges)
