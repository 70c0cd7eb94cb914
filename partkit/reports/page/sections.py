"""The sections that are made of sheets: bound and cuts, modules, links, environment, data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from partkit.data.plan import Plan
from partkit.reports.page.contents import Contents
from partkit.reports.page.html import Html, Section, captioned, element, joined, paragraphs, section, sheet_html, wide
from partkit.reports.page.model import model_html
from partkit.reports.sheets import sheet_of
from partkit.reports.sheets.cuts import cuts_sheet


def differences_html(contents: Contents) -> Section | None:
    """What changed between two files, for each difference among the parts."""
    if not contents.differences:
        return None
    shown = [
        joined(
            element("h3", name),
            element("p", f"{found.after} against {found.before}. {found.text}"),
            sheet_html(sheet_of(found), f"Values of {found.after} that are not those of {found.before}", sortable=True),
        )
        for name, found in contents.differences
    ]
    return section("differences", "What changed", *shown)


def models_html(contents: Contents) -> Section:
    """The model of each plan with its cuts, then of profiles that no plan here was made from."""
    shown = []
    for name, plan in contents.plans:
        profile = contents.profiles.get(plan.profile_sha256)
        drawn = _no_profile(plan) if profile is None else model_html(profile, plan, contents.cuts.get(name, ()))
        shown.append(joined(element("h3", f"{plan.model.source} · {name}"), drawn))
    shown += [joined(element("h3", name), model_html(profile, None, ())) for name, profile in contents.lone_profiles]
    if not shown:
        shown = [
            element(
                "p",
                "No plan or profile is among the files: name the plan's file too, as 'partkit report RESULTS PLAN'.",
            )
        ]
    return section("model", "The model and its cuts", *shown)


def bounds_html(contents: Contents) -> Section | None:
    """How far from the best possible each plan is, and what moving each cut would do."""
    if not contents.plans:
        return None
    shown = []
    for name, plan in contents.plans:
        sheet = sheet_of(plan)
        cuts = contents.cuts.get(name)
        proof = f"Bound proved by {plan.bound.proved_by}." if plan.bound.proved_by else "No bound was proved."
        shown.append(joined(element("h3", name), paragraphs([*sheet.notes, proof])))
        if cuts:
            shown.append(sheet_html(cuts_sheet(cuts), f"Each cut of {name}, and what moving it by one node would do"))
        elif len(plan.stages) > 1:
            shown.append(
                element("p", "What moving a cut would do needs the plan's profile, which is not here.", class_="note")
            )
    return section("bound", "The bound and the cuts", *shown)


def links_html(contents: Contents) -> Section | None:
    """Devices and links of each cluster."""
    if not contents.clusters:
        return None
    tables = [
        joined(
            element("h3", f"{sheet_of(cluster).heading} · {name}"),
            sheet_html(sheet_of(cluster), f"Devices and links, {name}"),
        )
        for name, cluster in contents.clusters
    ]
    return section("links", "Devices and links", *tables)


def environment_html(contents: Contents) -> Section:
    """The command that made each file, and where it was made."""
    shown = []
    for part in contents.parts:
        data = part.document.to_data()
        told: Mapping[str, Any] = data.get("environment") or data.get("provenance") or {}
        rows = [
            element("tr", element("th", key, scope="row"), element("td", value))
            for key, value in _flat({key: value for key, value in told.items() if key != "command"})
        ]
        caption = f"Environment of {part.name}"
        table = element("table", captioned(caption), element("tbody", *rows)) if rows else None
        shown += [element("h3", part.name), _command(told.get("command"))]
        shown += [wide(table, label=caption)] if table is not None else []
    return section("environment", "Commands and environment", *shown)


def _command(recorded: object) -> Html:
    """A command as a person types it: recorded is what Python was started with, which may be a file of ours."""
    if not recorded:
        return element("p", "Its command is not recorded.", class_="note")
    words = str(recorded)
    program, _, options = words.partition(" ")
    if program.endswith(("/partkit_cli/__main__.py", "/partkit/__main__.py", "/bin/partkit")):
        words = f"partkit {options}"
    return element("pre", element("code", words), tabindex="0", aria_label="Command")


def _no_profile(plan: Plan) -> Html:
    way = "" if plan.model.is_graph else f", or measure one with 'partkit profile {plan.model.source} -o FILE'"
    return element(
        "p", f"The plan's profile is neither among the files nor kept on this machine: name its file too{way}."
    )


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
