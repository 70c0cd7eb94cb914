"""``partkit doctor``: whether this machine is in order, and what its devices and links can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partkit_cli.failure import ENVIRONMENT, OK
from partkit_cli.options import DeviceChoice
from partkit_cli.output import Output


def doctor(
    output: Output,
    device: Annotated[DeviceChoice, typer.Option(help="Kind of device to measure.")] = DeviceChoice.AUTO,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads per rank.")] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Instead, time operations of many sizes, for --analytic: two minutes."),
    ] = False,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the machine as a cluster file for --cluster, or the calibration.",
            writable=True,
        ),
    ] = None,
) -> int:
    """Examine this machine: packages, folders, ports, drivers, devices, and every path between two devices.

    Copies are compared bit for bit. Ends with code 3 where something is broken, and names it; -o writes what was
    measured as a cluster, for 'partkit plan --cluster FILE'. --calibrate measures the device's kernels instead: what it
    finds is kept and corrects --analytic for that kind of device, here, and elsewhere as --analytic FILE.

    \b
    Examples:
      partkit doctor
      partkit doctor --json
      partkit doctor -o cluster.json
      partkit doctor --calibrate -o h100.calibration.json
    """
    if calibrate:
        return _calibrate(device, threads, path, output)
    from partkit.errors import MachineError
    from partkit.runs.doctor.examine import examine_machine

    with output.progress() as progress:
        found, cluster = examine_machine(device=device.value, threads=threads, progress=progress)
    output.document(found)
    if path is not None and cluster is not None:
        output.note(f"wrote {cluster.save(path)}")
    elif path is not None and found.ok:
        raise MachineError(
            f"{path} is not written: one GPU alone has no links to measure",
            hint="'partkit cluster list' has machines with more",
        )
    if not found.ok:
        return ENVIRONMENT
    output.next_step(["plan", "bert", *(["--cluster", str(path)] if path is not None else [])])
    return OK


def _calibrate(device: DeviceChoice, threads: int | None, path: Path | None, output: Output) -> int:
    from partkit.ranks.fork_client import prepare
    from partkit.runs.calibrate import calibrate

    prepare()
    with output.progress() as progress:
        found = calibrate(device=device.value, threads=threads, progress=progress)
    output.document(found)
    if path is not None:
        output.note(f"wrote {found.save(path)}")
    return OK
