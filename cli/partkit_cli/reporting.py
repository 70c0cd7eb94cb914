"""From files to a report's page, with what only planners and this machine's kept profiles add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partkit.errors import UsageError

if TYPE_CHECKING:
    from partkit.data.document import Document
    from partkit.data.plan import Plan
    from partkit.data.profile import Profile


def require_own_place(page: Path, inputs: Sequence[Path]) -> None:
    """Raise where the page would replace a file that it is made from."""
    for each in inputs:
        if each.resolve() == page.resolve():
            raise UsageError(
                f"the report would replace {each}, which it is made from", hint="name another file, as -o report.html"
            )


def write_report(documents: Mapping[str, Document], page: Path) -> int:
    """Write the report of ``documents`` by name; returns its size in bytes."""
    from partkit.data.plan import Plan
    from partkit.data.writing import write_text_atomically
    from partkit.planners import explain_cuts
    from partkit.reports.page import page_html
    from partkit.reports.page.contents import Contents, Part

    plans = {name: document for name, document in documents.items() if isinstance(document, Plan)}
    profiles = _profiles(documents, plans)
    cuts = {
        name: explain_cuts(plan, profiles[plan.profile_sha256])
        for name, plan in plans.items()
        if plan.profile_sha256 in profiles and len(plan.stages) > 1
    }
    parts = [Part(name, document) for name, document in documents.items()]
    text = page_html(Contents(parts, cuts, profiles))
    write_text_atomically(page, text)
    return len(text.encode())


def _profiles(documents: Mapping[str, Document], plans: Mapping[str, Plan]) -> dict[str, Profile]:
    """Profiles by digest: those given, then of plans whose profile is not, those that this machine keeps."""
    from partkit.data.cache import find_profile
    from partkit.data.profile import Profile

    found = {document.sha256: document for document in documents.values() if isinstance(document, Profile)}
    for plan in plans.values():
        kept = None if plan.profile_sha256 in found else find_profile(plan.profile_sha256)
        if kept is not None:
            found[plan.profile_sha256] = kept
    return found
