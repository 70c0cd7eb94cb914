"""Reading a partkit file whose kind is not known beforehand."""

from __future__ import annotations

import os
from importlib import import_module

from partkit.data.document import Document
from partkit.data.reading import read_json, shown
from partkit.errors import FormatError

DOCUMENT_BY_KIND = {
    "profile": "partkit.data.profile:Profile",
    "cluster": "partkit.data.cluster:Cluster",
    "plan": "partkit.data.plan:Plan",
    "run": "partkit.data.result:RunResult",
    "comparison": "partkit.data.result:Comparison",
    "difference": "partkit.data.difference:Difference",
    "doctor": "partkit.data.examination:Examination",
    "calibration": "partkit.data.device_calibration:DeviceCalibration",
    "simulation": "partkit.data.result:Simulation",
    "advice": "partkit.data.advice:Advice",
}


def document_class(kind: str) -> type[Document]:
    """The class that reads files of ``kind``."""
    module, _, name = DOCUMENT_BY_KIND[kind].partition(":")
    found: type[Document] = getattr(import_module(module), name)
    return found


def load_document(path: str | os.PathLike[str]) -> Document:
    """Read and check a partkit file of any kind.

    Raises :class:`FormatError` when the file is not JSON, of no known kind, or not valid for its kind.
    """
    data = read_json(path)
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in DOCUMENT_BY_KIND:
        raise FormatError(
            f"{path} is not a partkit file: its kind is {shown(kind)}",
            hint=f"the kinds are {', '.join(DOCUMENT_BY_KIND)}",
        )
    return document_class(kind).from_data(data, where=str(path))
