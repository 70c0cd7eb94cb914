"""A report as one HTML file: nothing is fetched, and all of it but search, sorting and saving works without script."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from partkit.reports.page.contents import Contents
from partkit.reports.page.embedded import data_html
from partkit.reports.page.executors import executors_html, runs_html, use_html
from partkit.reports.page.html import Html, Section, element, section
from partkit.reports.page.modules import modules_html
from partkit.reports.page.sections import bounds_html, differences_html, environment_html, links_html, models_html
from partkit.reports.page.stages import stages_html
from partkit.reports.page.timeline import timelines_html
from partkit.reports.page.verdict import title_of, verdict_html


def page_html(contents: Contents) -> str:
    """The page of a report: verdict first, then figures, the model, and what it was all made from."""
    title = title_of(contents)
    found = (
        executors_html(contents),
        runs_html(contents),
        stages_html(contents),
        timelines_html(contents),
        models_html(contents),
        bounds_html(contents),
        modules_html(contents),
        use_html(contents),
        differences_html(contents),
        links_html(contents),
        environment_html(contents),
        data_html(contents),
    )
    verdict = section("verdict", "Verdict", verdict_html(contents))
    sections = [verdict, *(each for each in found if each is not None)]
    script, style = _own("page.js"), _own("page.css")
    body = element(
        "body",
        element("a", "To the report", href="#verdict", class_="skip"),
        element("header", element("h1", title), _navigation(sections)),
        element("main", *(each.html for each in sections)),
        element("script", script),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", style),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _navigation(sections: list[Section]) -> Html:
    links = [element("li", element("a", each.title, href=f"#{each.anchor}")) for each in sections]
    return element("nav", element("ul", *links), aria_label="Sections")


def _own(name: str) -> Html:
    """A file of this package as it is."""
    return Html(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _policy(script: str) -> str:
    """Nothing may be fetched, and no script runs but our own: also where a name from a file became markup."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
