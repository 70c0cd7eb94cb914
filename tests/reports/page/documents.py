"""The golden files as one report, whose plan is of the golden profile, and models of other sizes."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

from partkit.data.document import Document
from partkit.data.plan import Plan
from partkit.data.profile import Node, Profile
from partkit.data.result import Comparison, RunResult
from partkit.planners import explain_cuts
from partkit.reports.page import page_html
from partkit.reports.page.contents import Contents, Part

GOLDEN = Path(__file__).parents[2] / "golden"
PROFILE = Profile.load(GOLDEN / "profile.v1.json")
PLAN = Plan.load(GOLDEN / "plan.v1.json").model_copy(update={"profile_sha256": PROFILE.sha256})
RUN = RunResult.load(GOLDEN / "run.v1.json")
COMPARISON = Comparison.load(GOLDEN / "comparison.v1.json")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><b style=x>&lt;\u202e\x1b[31m"


def contents(*documents: Document) -> Contents:
    """A report of these, each named after its kind."""
    parts = [Part(f"{type(document).model_fields['kind'].default}.json", document) for document in documents]
    profiles = {part.document.sha256: part.document for part in parts if isinstance(part.document, Profile)}
    cuts = {
        part.name: explain_cuts(part.document, profiles[part.document.profile_sha256])
        for part in parts
        if isinstance(part.document, Plan) and part.document.profile_sha256 in profiles
    }
    return Contents(parts, cuts, profiles)


def whole() -> Contents:
    return contents(COMPARISON, RUN, PLAN, PROFILE)


def hostile() -> Contents:
    """The same with markup, escape codes and marks of reading direction in whatever a person may have named."""
    documents = []
    for document in (COMPARISON, RUN, PLAN, PROFILE):
        data = {name: _spoilt(value, name) for name, value in document.to_data().items()}
        data["environment" if "environment" in data else "provenance"][HOSTILE] = {HOSTILE: HOSTILE, "command": HOSTILE}
        documents.append(type(document).from_data(data, where="here"))
    *others, plan, profile = documents
    plan = plan.model_copy(update={"profile_sha256": profile.sha256})
    parts = [Part(f"{HOSTILE}{place}", each) for place, each in enumerate((*others, plan, profile))]
    return Contents(parts, {parts[2].name: explain_cuts(plan, profile)}, {profile.sha256: profile})


_OF_A_FEW_VALUES = ("kind", "status", "objective", "fanout", "dtype", "method", "granularity")


def _spoilt(value: object, key: str) -> object:
    if isinstance(value, dict):
        names = _spoilt if key == "parameters" else lambda name, _: name
        return {names(name, ""): _spoilt(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_spoilt(each, key) for each in value]
    is_kept = key in ("kind", "status", "objective", "fanout", "dtype", "method", "granularity") or value in (
        "input",
        "output",
    )
    return f"{HOSTILE}{value}.{HOSTILE}" if isinstance(value, str) and not is_kept else value


@functools.cache
def large() -> tuple[Plan, str]:
    """A plan of 20,000 nodes and its page, on which its cuts are not explained."""
    profile, plan = layered(400, 50)
    parts = [Part("plan.json", plan), Part("profile.json", profile)]
    return plan, page_html(Contents(parts, {}, {plan.profile_sha256: profile}))


def layered(num_layers: int, nodes_per_layer: int) -> tuple[Profile, Plan]:
    """A chain of alike layers of four modules each, in four stages of equal lengths."""
    names = [(layer, place) for layer in range(num_layers) for place in range(nodes_per_layer)]
    nodes = tuple(
        Node(
            name=f"linear_{layer}_{place}",
            module=f"bert.encoder.layer.{layer}.part_{4 * place // nodes_per_layer}",
            op="aten.linear.default",
            time_s=1.23456e-5,
            parameters=(f"bert.encoder.layer.{layer}.weight{place}",),
            param_bytes=2362368,
            output_bytes=393216,
        )
        for layer, place in names
    )
    edges = tuple((before.name, after.name) for before, after in itertools.pairwise(nodes))
    profile = Profile(model=PROFILE.model, device=PROFILE.device, method="measured", nodes=nodes, edges=edges)
    data = PLAN.to_data()
    quarter = len(nodes) // 4 + 7  # so that cuts lie within layers
    ends = [nodes[start : start + quarter] for start in range(0, len(nodes), quarter)]
    data["cluster"] |= {"devices": data["cluster"]["devices"] * 2, "links": []}
    data["stages"] = [
        {
            "index": index,
            "devices": [index],
            "nodes": [node.name for node in part],
            "modules": sorted({node.module for node in part}),
            "compute_s": 1e-3,
            "sends": [{"to": index + 1, "values": [part[-1].name], "bytes": 393216, "time_s": 1e-5}]
            if index < 3
            else [],
        }
        for index, part in enumerate(ends)
    ]
    data["profile_sha256"] = profile.sha256
    return profile, Plan.from_data(data, where="here")
