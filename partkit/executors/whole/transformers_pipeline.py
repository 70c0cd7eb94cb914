"""transformers' own pipeline, as ``from_pretrained(distributed_config=DistributedConfig(pp_size=N))`` makes it.

Each rank holds its layers; an item goes through the ranks one after the other, and its logits are then broadcast to all
of them, so that one rank computes at a time.
"""

from __future__ import annotations

import inspect

import torch
from torch.distributed.device_mesh import init_device_mesh

from partkit.errors import UnsupportedError
from partkit.executors.whole.base import WholeModelExecutor
from partkit.executors.whole.peers import faults_are_reasons
from partkit.models.sources.loaded import LoadedModel


class TransformersPipelineExecutor(WholeModelExecutor):
    """The module with the layers of other ranks taken out."""

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Take out the other ranks' layers, read this rank's weights, run one item.

        Raises :class:`UnsupportedError` where the installed transformers has no pipeline, or none for this model.
        """
        try:
            from transformers.distributed.pipeline_parallel import apply_pipeline_parallelism
        except ImportError as error:
            import transformers

            raise UnsupportedError(
                f"transformers {transformers.__version__} has no pipeline of its own: DistributedConfig(pp_size=N) "
                "came with a later version"
            ) from error
        module = loaded.build()
        _require_decoder(module)
        device = self._context.device
        with faults_are_reasons("transformers"), torch.no_grad():
            mesh = init_device_mesh(device.type, (self._context.world_size,), mesh_dim_names=("pp",))
            apply_pipeline_parallelism(module, mesh)
            loaded.fill(module, lambda _name, _parameter, tensor: tensor.to(device))
            module.to(device)
            args, kwargs = self._calls[0]
            module(*args, **kwargs)
        return module


def _require_decoder(module: torch.nn.Module) -> None:
    """Raise :class:`UnsupportedError` for what transformers' pipeline does not know how to cut.

    It cuts ``layers`` of the base model between ``embed_tokens`` and ``norm``, and gives the logits of ``lm_head``.
    """
    base = getattr(module, str(getattr(module, "base_model_prefix", "")), None)
    parts = {"layers": base, "embed_tokens": base, "norm": base, "lm_head": module}
    missing = [name for name, owner in parts.items() if not hasattr(owner, name)]
    if missing or "inputs_embeds" not in inspect.signature(module.forward).parameters:
        raise UnsupportedError(
            "transformers' DistributedConfig(pp_size=N) cuts causal language models made of embed_tokens, layers, norm "
            f"and lm_head, and {type(module).__name__} has no {', '.join(missing) or 'inputs_embeds'}"
        )
