"""The top of the page: what to do and whether the figures may be trusted, in words, before any figure."""

from __future__ import annotations

from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.result import Comparison, RunResult
from partkit.reports.page.contents import Contents, told_model
from partkit.reports.page.html import Html, element, joined, paragraphs
from partkit.reports.sheets import sheet_of


def verdict_html(contents: Contents) -> Html:
    """A card for each comparison, or else for each run, plan or profile: whatever says most."""
    cards = [_comparison(name, comparison) for name, comparison in contents.comparisons]
    cards += [_run(name, result) for name, result in contents.runs]
    cards += [
        _card("warn", each.text, f"{each.after} against {each.before}. From {name}.")
        for name, each in contents.differences
    ]
    cards = cards or [_plan(name, plan) for name, plan in contents.plans]
    cards = cards or [_profile(name, profile) for name, profile in contents.of(Profile)]
    return joined(_mixed(contents), *cards)


def title_of(contents: Contents) -> str:
    """Names the models."""
    sources = list(dict.fromkeys(model.source for model in contents.models))
    return f"partkit: {', '.join(sources)}" if sources else "partkit report"


def _mixed(contents: Contents) -> Html | None:
    models = contents.models
    if len(models) < 2:
        return None
    told = ", ".join(told_model(model) for model in models)
    return _card(
        "warn",
        "Several models",
        f"These files are of {len(models)} models or shapes, not to be set beside each other: {told}.",
    )


def _comparison(name: str, comparison: Comparison) -> Html:
    *_, validity = [note for note in sheet_of(comparison).notes if note.startswith(("VALID", "INVALID"))]
    verdict = comparison.verdict
    best = (("throughput", verdict.throughput), ("latency", verdict.latency), ("memory per device", verdict.memory))
    lines = [f"Best for {aim}: {executor}." for aim, executor in best if executor]
    return _card(
        "good" if comparison.valid else "bad",
        verdict.text or ("No executor gave a result." if not lines else ""),
        " ".join(lines),
        f"{validity}. From {name}.",
        *(f"Warning: {text}" for text in comparison.warnings),
    )


def _run(name: str, result: RunResult) -> Html:
    sheet = sheet_of(result)
    state = {True: "good", False: "bad", None: "warn"}[result.check.passed]
    return _card(state, f"{result.executor}: {sheet.notes[0]}", *sheet.notes[1:], f"{sheet.heading}. From {name}.")


def _plan(name: str, plan: Plan) -> Html:
    devices = len({device for stage in plan.stages for device in stage.devices})
    lead = f"{plan.model.source} in {len(plan.stages)} stages on {devices} devices: predicted, not run."
    return _card("warn", lead, *sheet_of(plan).notes, f"From {name}.")


def _profile(name: str, profile: Profile) -> Html:
    sheet = sheet_of(profile)
    return _card(
        "warn",
        f"A profile of {profile.model.source}: nothing was planned or run.",
        sheet.heading,
        *sheet.notes,
        f"From {name}.",
    )


def _card(state: str, lead: str, *lines: str) -> Html:
    """``state`` gives the colour; what it means is in the words too."""
    return element(
        "div",
        element("p", lead, class_="lead") if lead else None,
        paragraphs([line for line in lines if line]),
        class_=f"card {state}",
    )
