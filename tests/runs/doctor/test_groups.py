"""Each fault of a machine that the doctor knows, made by hand, is named."""

from __future__ import annotations

import socket
import tempfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from partkit.data.examination import Check, ExaminedLink
from partkit.machine.nvml import Driver, Gpu
from partkit.runs.doctor import folders, gpus, network, packages
from partkit.runs.doctor.examine import advice, examination_of
from partkit.runs.doctor.imports import Imported, Imports, try_imports
from partkit.runs.doctor.looked_at import LookedAt
from partkit.runs.doctor.ranks import path_checks

CARD = Gpu(
    index=0,
    uuid="GPU-0",
    name="a card",
    total_bytes=80 << 30,
    free_bytes=79 << 30,
    compute_mode=0,
    mig_enabled=False,
    ecc_errors=0,
    throttled_by=0,
    pcie_generation=1,
    pcie_width=16,
    slot_generation=5,
    slot_width=16,
    card_generation=5,
    nvlinks=18,
)
TORCH = {"version": "2.13.0", "cuda": "12.8", "num_devices": 1, "fault": None, "nccl": "2.27.3"}


def by_name(checks: object) -> dict[str, Check]:
    return {check.name: check for check in checks}  # type: ignore[attr-defined]


def stub(folder: Path, name: str, code: str, *, version: str, requires: str | None = None) -> None:
    """A package that is installed as far as Python can tell."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    told = folder / f"{name}-{version}.dist-info"
    told.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *([f"Requires-Dist: {requires}"] if requires else [])]
    (told / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")


def test_a_torchvision_for_another_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    stub(tmp_path, "torchvision", code, version="0.1.0", requires="torch==1.0")
    monkeypatch.syspath_prepend(tmp_path)
    found = try_imports(["torchvision"])
    check = packages._optional("torchvision", found.by_name["torchvision"])
    assert check.status == "warning"
    assert "torchvision 0.1.0 does not fit torch" in check.finding
    assert "RuntimeError: operator torchvision::nms does not exist" in check.finding
    assert check.advice is not None
    assert metadata.version("torch") in check.advice


def test_a_torchvision_that_fails_otherwise_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, "torchvision", "import no_such_part_of_torch", version="0.1.0")
    monkeypatch.syspath_prepend(tmp_path)
    check = packages._optional("torchvision", try_imports(["torchvision"]).by_name["torchvision"])
    assert check.status == "broken"
    assert "No module named 'no_such_part_of_torch'" in check.finding


def test_a_torchvision_that_imports_and_asks_for_another_torch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path, "torchvision", "", version="0.1.0", requires="torch==1.0")
    monkeypatch.syspath_prepend(tmp_path)
    check = packages._optional("torchvision", Imported())
    assert (check.status, "asks for torch==1.0" in check.finding) == ("warning", True)


def test_packages_that_end_the_process_or_are_missing_are_each_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_one.py").write_text("import os; os.abort()")
    (tmp_path / "leaving_one.py").write_text("import sys; sys.exit(4)")
    (tmp_path / "good_one.py").write_text("print('what no one reads')")
    monkeypatch.syspath_prepend(tmp_path)
    found = try_imports(["crashing_one", "leaving_one", "missing_one", "good_one"]).by_name
    assert found["crashing_one"].fault == "the process was ended by SIGABRT while it imported"
    assert found["leaving_one"].fault == "SystemExit: 4"
    assert found["missing_one"].is_missing
    assert (found["good_one"].fault, found["good_one"].file) == (None, str(tmp_path / "good_one.py"))


def test_a_needed_package_that_does_not_import_is_broken() -> None:
    check = packages._needed("scipy", "scipy", Imported(fault="ImportError: numpy.core failed"))
    assert check.status == "broken"
    assert "cannot be imported: ImportError: numpy.core failed" in check.finding
    assert packages._needed("scipy", "scipy", Imported(fault="x", is_missing=True)).advice == "pip install scipy"


def test_an_nvml_binding_of_another_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (right,) = packages.nvml_binding()
    assert right.status == "ok"
    stub(tmp_path, "pynvml", "", version="11.5.3")
    monkeypatch.syspath_prepend(tmp_path)
    (check,) = packages.nvml_binding()
    assert check.status == "warning"
    assert "of the package pynvml 11.5.3" in check.finding


def test_a_temporary_folder_that_takes_no_file_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # nobody may make a file there
    seen = LookedAt("auto", 1)
    check = by_name(folders.folders(seen))["temporary folder"]
    assert check.status == "broken"
    assert check.finding.startswith("/proc cannot be written: ")
    assert seen.is_broken
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    check = folders.temporary_folder()
    assert (check.status, "TMPDIR=/no/such/folder cannot be written" in check.finding) == ("warning", True)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folders, "_TRIED_BYTES", 1 << 62)
    assert folders.write_fault(tmp_path) is not None
    assert list(tmp_path.iterdir()) == []


def test_an_interface_that_is_not_there_is_broken_and_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert network.loopback().status == "ok"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nothing7")
    check = by_name(network.network(LookedAt("auto", 1)))["interface"]
    assert (check.status, "the interface nothing7" in check.finding) == ("broken", True)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        assert network.master_port(port).status == "warning"
    assert network.master_port(port).status == "ok"


def test_a_slot_below_the_card_is_told() -> None:
    (check,) = gpus.slot("GPU 0", CARD)
    assert (check.status, check.finding) == ("ok", "PCI Express 5 x16, 63 GB/s each way at most")
    (check,) = gpus.slot("GPU 0", replace(CARD, slot_generation=1))
    assert check.status == "warning"
    assert "and the card can do generation 5: what crosses it takes 16 times as long" in check.finding
    (check,) = gpus.slot("GPU 0", replace(CARD, pcie_width=8))
    assert "only 8 lanes are in use" in check.finding


@pytest.mark.parametrize(
    ("torch", "driver", "name", "words"),
    [
        ({"fault": "RuntimeError: no permission", "num_devices": 0}, {}, "torch build", "no permission"),
        ({"cuda": "14.0"}, {}, "driver", "torch was built for CUDA 14.0"),
        ({"arch_list": ["sm_80"], "capabilities": [(9, 0)]}, {}, "GPU 0 kernels", "compute capability is 9.0"),
        ({}, {"compute_mode": 2}, "GPU 0 mode", "lets nobody compute"),
        ({}, {"ecc_errors": 3}, "GPU 0 ECC", "3 uncorrected memory errors"),
    ],
)
def test_gpus_that_cannot_be_used_are_broken(
    torch: dict[str, object], driver: dict[str, int], name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Driver(version="570.1", cuda="12.8", gpus=(replace(CARD, **driver),))  # type: ignore[arg-type]
    monkeypatch.setattr(gpus, "driver", lambda: found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    checks = by_name(gpus.gpus(LookedAt("auto", 1, Imports(torch={**TORCH, **torch}))))
    assert checks[name].status == "broken"
    assert words in checks[name].finding
    healthy = gpus.gpus(LookedAt("auto", 1, Imports(torch=TORCH)))
    monkeypatch.setattr(gpus, "driver", lambda: replace(found, gpus=(CARD,)))
    assert {check.status for check in healthy} == {"ok"}


def test_gpus_beside_a_torch_for_cpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "driver", lambda: Driver(version="570.1", cuda="12.8", gpus=(CARD,)))
    seen = LookedAt("auto", 1, Imports(torch={"version": "2.13.0+cpu", "cuda": None, "num_devices": 0}))
    assert by_name(gpus.gpus(seen))["torch build"].status == "warning"
    assert seen.kind == "cpu"
    seen.device = "cuda"
    assert by_name(gpus.gpus(seen))["CUDA devices"].status == "broken"


LINK = ExaminedLink(
    source=0, target=1, over="copies", latency_s=1e-5, bytes_per_s=1e11, verified_bytes=1000, changed_bytes=0
)


def test_a_link_that_changes_bytes_and_one_that_is_slow_are_told() -> None:
    wrong = LINK.model_copy(update={"target": 2, "changed_bytes": 7})
    slow = LINK.model_copy(update={"source": 1, "target": 2, "bytes_per_s": 2e10})
    checks = by_name(path_checks("copies", [LINK, wrong, slow]))
    assert checks["copies 0-2"].status == "broken"
    assert checks["copies 0-2"].finding.startswith("7 of 1,000 bytes sent between devices 0 and 2")
    assert checks["copies 1-2"].status == "warning"
    assert "copies" not in checks, "what is broken has no line that says that all is well"


def test_what_is_broken_comes_first_in_the_advice_and_is_a_finding() -> None:
    slow = Check(group="host", name="cores", status="warning", finding="busy", advice="wait")
    broken = Check(group="ranks", name="start", status="broken", finding="no rank", advice="mend it")
    seen = LookedAt("auto", 1)
    assert advice([slow, broken], seen) == "Broken: start (no rank): mend it. Worth a look: cores (busy): wait."
    found = examination_of([slow, broken], seen)
    assert not found.ok
    assert [(each.severity, each.what, each.hint) for each in found.findings] == [
        ("warning", "cores: busy", "wait"),
        ("broken", "start: no rank", "mend it"),
    ]
