"""Why each cut is where it is: what crosses it and what moving it by one node would do."""

from __future__ import annotations

import numpy as np

from partkit.data.explanation import CrossingValue, CutExplanation, Move
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.planners.check import assignment_of_plan, require_nodes, sending_of_plan
from partkit.planners.costs.cost import Assignment, Costs, evaluate
from partkit.planners.costs.graph import Graph, build_graph
from partkit.planners.costs.sending import Sending


def explain_cuts(plan: Plan, profile: Profile) -> tuple[CutExplanation, ...]:
    """An explanation of each cut of ``plan``, first to last. O(cuts x candidates x (nodes + uses)).

    Raises :class:`FormatError` for a plan that does not fit the profile.
    """
    graph = build_graph(profile)
    require_nodes(plan, profile, graph)
    assignment = assignment_of_plan(plan, graph)
    costs = evaluate(graph, plan.cluster, assignment)
    sending = sending_of_plan(plan, graph)
    return tuple(_explain(plan, graph, assignment, costs, sending, before) for before in range(len(plan.stages) - 1))


def _explain(
    plan: Plan, graph: Graph, assignment: Assignment, costs: Costs, sending: Sending, before: int
) -> CutExplanation:
    traffic, sent = sending.costs.traffic, sending.graph
    over = (np.minimum(traffic.source, traffic.target) <= before) & (
        np.maximum(traffic.source, traffic.target) > before
    )
    targets: dict[int, list[int]] = {}
    for value, target in zip(traffic.value[over].tolist(), traffic.target[over].tolist(), strict=True):
        targets.setdefault(value, []).append(target)
    values = tuple(
        CrossingValue(
            name=sent.nodes[value].name,
            bytes=sent.nodes[value].output_bytes,
            source=int(sending.assignment.stage_of[value]),
            targets=tuple(readers),
        )
        for value, readers in targets.items()
    )
    return CutExplanation(
        before=before,
        values=values,
        bytes=sum(value.bytes for value in values),
        compute_before_s=float(sending.costs.compute_s[before]),
        compute_after_s=float(sending.costs.compute_s[before + 1]),
        period_before_s=float(sending.costs.stage_period_s[before]),
        period_after_s=float(sending.costs.stage_period_s[before + 1]),
        earlier=_best_move(plan, graph, assignment, costs, (before, before + 1)),
        later=_best_move(plan, graph, assignment, costs, (before + 1, before)),
    )


def _best_move(plan: Plan, graph: Graph, assignment: Assignment, costs: Costs, way: tuple[int, int]) -> Move | None:
    """The move of one node from stage ``way[0]`` to ``way[1]`` that keeps values going forward, best by period."""
    source, target = way
    moves = []
    for node in _movable(graph, assignment, source, target):
        stage_of = assignment.stage_of.copy()
        stage_of[node] = target
        if not (stage_of == source).any():
            continue
        moved = evaluate(graph, plan.cluster, Assignment(stage_of, assignment.devices))
        moves.append(
            Move(
                node=graph.nodes[node].name,
                source=source,
                target=target,
                period_s=moved.period_s,
                pair_period_s=float(moved.stage_period_s[[source, target]].max()),
                change=moved.period_s / costs.period_s - 1 if costs.period_s > 0 else 0.0,
            )
        )
    return min(moves, key=lambda move: (move.period_s, move.pair_period_s), default=None)


def _movable(graph: Graph, assignment: Assignment, source: int, target: int) -> list[int]:
    """Nodes of stage ``source`` that no other node of it needs (or is needed by), so that one may leave alone."""
    inside = assignment.stage_of == source
    local = inside[graph.use_source] & inside[graph.use_target]
    held = graph.use_source[local] if target > source else graph.use_target[local]
    free = inside & ~graph.is_input
    free[held] = False
    return [node for node in np.flatnonzero(free).tolist() if _keeps_order(graph, assignment, node, target)]


def _keeps_order(graph: Graph, assignment: Assignment, node: int, target: int) -> bool:
    producers = assignment.stage_of[graph.use_source[graph.use_target == node]]
    consumers = assignment.stage_of[graph.use_target[graph.use_source == node]]
    return bool((producers <= target).all() and (consumers >= target).all())
