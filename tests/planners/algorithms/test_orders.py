"""Orders of the blocks: each is topological, and starts with the inputs."""

from __future__ import annotations

from hypothesis import given, settings

from partkit.planners import PlanRequest
from partkit.planners.algorithms.orders import by_pinned_stage, orders_of
from partkit.planners.costs.graph import build_graph
from partkit.planners.problem.blocks import make_blocks
from tests.planners.instances import profiles

quick = settings(max_examples=100)


@quick
@given(profiles(max_nodes=9, groups=True))
def test_every_order_holds_each_block_once_and_after_what_it_uses(profile):
    blocks = make_blocks(build_graph(profile), PlanRequest(), fuse_idle=False)
    for make_order in [*orders_of(blocks), by_pinned_stage]:
        order = make_order(blocks).tolist()
        assert sorted(order) == list(range(blocks.num_blocks))
        place = {block: position for position, block in enumerate(order)}
        assert all(place[source] < place[target] for source, target in blocks.edges.tolist())
        assert not blocks.has_input or order[0] == 0
