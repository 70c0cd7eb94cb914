"""``partkit cluster``: the machines that can be named, and any of them in full."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from partkit.errors import UsageError
from partkit_cli.completion import cluster_names
from partkit_cli.next_step import plan_for_cluster
from partkit_cli.output import Output


class Action(StrEnum):
    """What to do with clusters."""

    LIST = "list"
    SHOW = "show"


def cluster(
    action: Annotated[Action, typer.Argument(help="list: those that are built in. show: one of them, or a file.")],
    output: Output,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|FILE]", help="The cluster to show.", autocompletion=cluster_names),
    ] = None,
) -> None:
    """List the machines that can be planned for without having them, or show one.

    Each figure is nominal or assumed, and cites its source. --cluster takes the same names and files.

    \b
    Examples:
      partkit cluster list
      partkit cluster show 4x-pcie-gen1
      partkit cluster show 2x8-nvlink --json
    """
    from partkit.data.builtin_clusters import builtin_cluster, builtin_cluster_names, load_cluster

    if action is Action.SHOW:
        if name is None:
            raise UsageError("no cluster is named", hint="'partkit cluster list' has the names; a file will do too")
        shown = load_cluster(name)
        output.document(shown)
        output.next_step(plan_for_cluster(shown, name))
        return
    if name is not None:
        raise UsageError(f"list takes no name, and {name} is given", hint=f"partkit cluster show {name}")
    from partkit.reports.sheets.clusters import clusters_sheet

    known = [builtin_cluster(each) for each in builtin_cluster_names()]
    output.json(
        {
            "kind": "clusters",
            "clusters": [
                {
                    "name": each.name,
                    "devices": len(each.devices),
                    "memory_bytes": each.devices[0].memory_bytes,
                    "bytes_per_s": each.link_between(0, 1).bytes_per_s,
                    "slowest_bytes_per_s": each.link.bytes_per_s,
                    "citation": each.citation,
                }
                for each in known
            ],
        }
    )
    output.sheet(clusters_sheet(known))
    output.next_step(["cluster", "show", known[0].name])
