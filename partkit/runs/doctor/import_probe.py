"""``python -P -m partkit.runs.doctor.import_probe NAME...``: imports packages in turn and writes how each went.

A process of its own: a package may end it, and what it imports is gone afterwards. A line of JSON on the descriptor
that stdout was, before and after each import; whatever the packages print themselves goes nowhere.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

CUDA_START = "torch.cuda"
"""What is begun between the imports of torch and of the next package."""


def main(names: list[str]) -> int:
    """Import each; 0 whatever came of it."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)

    def tell(**fields: Any) -> None:
        lines.write(json.dumps(fields) + "\n")
        lines.flush()

    for name in names:
        tell(begins=name)
        begin = time.perf_counter()
        try:
            module = importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a broken package raises anything, SystemExit too
            tell(name=name, fault=_fault(error), is_missing=_is_missing(error, name))
            continue
        place = getattr(module, "__file__", None)
        tell(name=name, file=place, seconds=round(time.perf_counter() - begin, 3))
        if name == "torch":
            tell(begins=CUDA_START)
            tell(torch=_torch_facts(module))
    return 0


def _fault(error: BaseException) -> str:
    """The first cause: its type and first line; where it says nothing, the line of code."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if line:
        return f"{type(error).__name__}: {line}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _is_missing(error: BaseException, name: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]


def _torch_facts(torch: Any) -> dict[str, Any]:
    """What torch was built for, and whether it can use its devices: CUDA is started here, and ends with the process."""
    facts: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "has_gloo": torch.distributed.is_available() and torch.distributed.is_gloo_available(),
        "num_devices": 0,
        "fault": None,
    }
    if facts["cuda"] is None and facts["hip"] is None:
        return facts
    try:
        torch.cuda.init()
        facts["num_devices"] = torch.cuda.device_count()
        facts["arch_list"] = torch.cuda.get_arch_list()
        facts["capabilities"] = [torch.cuda.get_device_capability(index) for index in range(facts["num_devices"])]
        nccl = torch.distributed.is_nccl_available()
        facts["nccl"] = ".".join(str(part) for part in torch.cuda.nccl.version()) if nccl else None
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what starting CUDA came to
        facts["fault"] = _fault(error)
    return facts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
