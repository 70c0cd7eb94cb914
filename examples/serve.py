"""Submit items from threads and from tasks, as a server does: each gets its own output, whoever else submits.

``submit`` gives a future and blocks only while all slots and the waiting room are full; ``asubmit`` awaits instead.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import torch

import partkit
from net import make_net


def main() -> None:
    """Ask from four threads, then from twenty tasks, and look that nobody got another's answer."""
    module, example = make_net()
    profile = partkit.profile_model(module, example_inputs=example)
    plan = partkit.plan_as_asked(profile, partkit.machine_cluster(2), partkit.PlanRequest(num_stages=2))

    def request(number: int) -> torch.Tensor:
        return torch.full((64, 256), number / 100)

    def is_answer(number: int, output: torch.Tensor) -> bool:
        with torch.inference_mode():
            return torch.allclose(output, module(request(number)), atol=1e-4)

    with partkit.open_pipeline(plan) as pipeline:
        with ThreadPoolExecutor(4) as threads:
            asked = threads.map(lambda number: (number, pipeline.submit(request(number)).result()), range(40))
            right = [is_answer(number, output) for number, output in asked]
        print(f"{sum(right)} of {len(right)} answers to threads are right")

        async def ask_all() -> list[bool]:
            outputs = await asyncio.gather(*(pipeline.asubmit(request(number)) for number in range(20)))
            return [is_answer(number, output) for number, output in enumerate(outputs)]

        right = asyncio.run(ask_all())
        print(f"{sum(right)} of {len(right)} answers to tasks are right")


if __name__ == "__main__":
    main()
