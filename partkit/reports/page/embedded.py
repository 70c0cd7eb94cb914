"""The files themselves, for programs."""

from __future__ import annotations

import json

from partkit.data.profile import Profile
from partkit.data.units import format_bytes
from partkit.reports.page.contents import Contents
from partkit.reports.page.html import Html, Section, element, section

MAX_EMBEDDED_PROFILE_BYTES = 150_000
"""A profile above that is named and not embedded: it is no result, and the page is to be sent around."""


def data_html(contents: Contents) -> Section:
    """The files themselves, for programs: JSON in elements that a browser does not run."""
    items, scripts = [], []
    for place, part in enumerate(contents.parts):
        text = _script_json(part.document.to_data())
        if isinstance(part.document, Profile) and len(text) > MAX_EMBEDDED_PROFILE_BYTES:
            items.append(
                element(
                    "li",
                    f"{part.name}: a profile of {format_bytes(len(text))}, too large to embed, "
                    f"with digest {part.document.sha256}",
                )
            )
            continue
        button = element(
            "button",
            "Save",
            type="button",
            class_="save",
            data_from=f"data-{place}",
            data_name=part.name,
            hidden=True,
            aria_label=f"Save {part.name}",
        )
        items.append(element("li", f"{part.name}: {format_bytes(len(text))}, in element #data-{place} ", button))
        scripts.append(element("script", Html(text), type="application/json", id=f"data-{place}", data_name=part.name))
    note = "The JSON of these files is in this page's source: also machines' names, and commands with their paths."
    return section("data", "Data", element("p", note, class_="note"), element("ul", *items), *scripts)


def _script_json(data: object) -> str:
    """JSON that ends no script element and begins no comment, and means the same."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
