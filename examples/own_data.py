"""Take your own data through a pipeline: items in, outputs out, in order, no faster than they are asked for.

``pipeline.map`` reads the next item only when there is room for it, so a dataset of any length passes through a few
slots of shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

import partkit
from net import make_net

NUM_ITEMS = 100


def dataset() -> Iterator[torch.Tensor]:
    """Items made while they are asked for, as a loader of files would."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(NUM_ITEMS):
        yield torch.randn(64, 256, generator=generator)


def main() -> None:
    """Compare each output with the module's own."""
    module, example = make_net()
    profile = partkit.profile_model(module, example_inputs=example)
    plan = partkit.plan_as_asked(profile, partkit.machine_cluster(2), partkit.PlanRequest(num_stages=2))
    furthest, count = 0.0, 0
    with partkit.open_pipeline(plan) as pipeline, torch.inference_mode():
        for item, output in zip(dataset(), pipeline.map(dataset()), strict=True):
            furthest = max(furthest, float((output - module(item)).abs().max()))
            count += 1
    print(f"{count} outputs, at most {furthest:.1e} from the module's own")


if __name__ == "__main__":
    main()
