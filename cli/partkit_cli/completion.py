"""What a shell offers for an argument after Tab: names that partkit knows, found without torch."""

from __future__ import annotations

import re
from pathlib import Path

_KIND = re.compile(r'"kind"\s*:\s*"(\w+)"')
_BEGINNING = 200


def model_names(incomplete: str) -> list[str]:
    """Presets, the sources' prefixes, and JSON files."""
    from partkit.models.sources import SOURCES, list_models

    known = [model.name for model in list_models()] + [f"{prefix}:" for prefix in SOURCES if prefix != "preset"]
    return [name for name in known if name.startswith(incomplete)] + file_names(incomplete)


def file_names(incomplete: str) -> list[str]:
    """JSON files, and folders to go on from."""
    folder, _, start = incomplete.rpartition("/")
    here = Path(folder or ("/" if incomplete.startswith("/") else "."))
    prefix = f"{folder}/" if "/" in incomplete else ""
    found = sorted(here.iterdir()) if here.is_dir() else []
    shown = [each for each in found if each.name.startswith(start) and (start.startswith(".") or each.name[0] != ".")]
    folders = [f"{prefix}{each.name}/" for each in shown if each.is_dir()]
    return [f"{prefix}{each.name}" for each in shown if each.suffix == ".json"] + folders


def plan_names(incomplete: str) -> list[str]:
    """Plan files, JSON files whose kind does not stand at their beginning, and folders to go on from."""
    return [name for name in file_names(incomplete) if name.endswith("/") or _kind_of(name) in ("plan", None)]


def _kind_of(name: str) -> str | None:
    """The kind that a partkit file names first; None where it is not among its first letters."""
    try:
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            found = _KIND.search(file.read(_BEGINNING))
    except OSError:
        return None
    return found[1] if found is not None else None


def cluster_names(incomplete: str) -> list[str]:
    """Built-in clusters, and JSON files."""
    from partkit.data.builtin_clusters import builtin_cluster_names

    return [name for name in builtin_cluster_names() if name.startswith(incomplete)] + file_names(incomplete)


def planner_names(incomplete: str) -> list[str]:
    """Planners."""
    from partkit.planners.registry import PLANNERS

    return [name for name in PLANNERS if name.startswith(incomplete)]


def dtype_names(incomplete: str) -> list[str]:
    """Dtypes that a model can be built in."""
    from partkit.models.sources import DTYPES

    return [name for name in DTYPES if name.startswith(incomplete)]


def task_names(incomplete: str) -> list[str]:
    """Heads of transformers models."""
    from partkit.models.sources.hf_config import AUTO_CLASS_BY_TASK

    return [name for name in AUTO_CLASS_BY_TASK if name.startswith(incomplete)]


def analytic_names(incomplete: str) -> list[str]:
    """Devices with published figures."""
    from partkit.profilers.nominal import NOMINAL

    return [name for name in NOMINAL if name.startswith(incomplete)]


def executor_names(incomplete: str) -> list[str]:
    """Executors, of which an option takes several with commas."""
    from partkit.executors import EXECUTORS

    before, comma, start = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in EXECUTORS if name.startswith(start)]


def format_names(incomplete: str) -> list[str]:
    """Forms of output."""
    from partkit.reports import RENDERERS

    return [name for name in RENDERERS if name.startswith(incomplete)]


def format_and_graph_names(incomplete: str) -> list[str]:
    """Forms of output, those of graphs included."""
    from partkit.reports.graph import GRAPH_FORMS

    return format_names(incomplete) + [name for name in GRAPH_FORMS if name.startswith(incomplete)]


def export_names(incomplete: str) -> list[str]:
    """What a plan can be exported to."""
    from partkit.reports.exports import EXPORTS, STAGE_FILES

    return [name for name in (*EXPORTS, *STAGE_FILES) if name.startswith(incomplete)]
