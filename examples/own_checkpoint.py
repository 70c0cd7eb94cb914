"""Split a checkpoint folder as transformers saves it: ``config.json`` and safetensors.

The folder is made here, of a small Llama; with a real one give its path. Each rank reads only the weights of its own
stage.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import transformers

import partkit


def make_checkpoint(folder: Path) -> None:
    """A Llama of four layers with drawn weights, saved as any other."""
    config = transformers.LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=1000,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def main() -> None:
    """Plan and run the folder's model, with items of 32 tokens."""
    with tempfile.TemporaryDirectory() as name:
        make_checkpoint(Path(name))
        spec = partkit.parse_model(f"hf:{name}", seq=32)
        profile = partkit.profile_model(spec)
        plan = partkit.plan_as_asked(profile, partkit.machine_cluster(2), partkit.PlanRequest(num_stages=2))
        for stage in plan.stages:
            print(f"stage {stage.index}: {stage.param_bytes} bytes of weights, {', '.join(stage.modules)}")
        result = partkit.run_plan(plan, partkit.RunOptions(seconds=1.0))
    assert result is not None
    print(f"{result.samples_per_s:.0f} samples/s; outputs are the unsplit model's: {result.check.passed}")


if __name__ == "__main__":
    main()
