"""``partkit models``: the models that can be named."""

from __future__ import annotations

from partkit_cli.output import Output


def models(output: Output) -> None:
    """List the models that can be named.

    \b
    Example:
      partkit models
    """
    from partkit.models.sources import list_models
    from partkit.reports.sheets.models import models_sheet

    known = list_models()
    output.json(
        {
            "kind": "models",
            "models": [
                {
                    "name": model.name,
                    "description": model.description,
                    "num_parameters": model.num_parameters,
                    "inputs": [str(item) for item in model.inputs],
                }
                for model in known
            ],
        }
    )
    output.sheet(models_sheet(known))
    output.next_step(["plan", known[0].name])
