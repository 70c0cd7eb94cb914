"""Every architecture at a real size on GPUs: profiled, planned for two stages, run and checked.

    python benchmarks/models/real_sizes.py --out results [--only T5,Whisper] [--devices 0,0] [--limit 500]

A result that is in the folder already is not made again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(Path(__file__).parent)]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from architectures import Architecture  # noqa: E402
from side_by_side import Bench, Run, comma_list  # noqa: E402

from partkit.data.builtin_clusters import load_cluster  # noqa: E402
from partkit.data.plan import Plan  # noqa: E402
from partkit.data.result import RunResult  # noqa: E402
from partkit.models.sources import parse_model  # noqa: E402
from partkit.planners import PlanRequest, plan_as_asked  # noqa: E402
from partkit.ranks.run_options import RunOptions  # noqa: E402
from partkit.runs.machine_cluster import machine_cluster  # noqa: E402

_TEXT = {"seq": 128}
_BF16 = {"dtype": "bfloat16"}
_DECODER = {
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "intermediate_size": 5632,
    "vocab_size": 32000,
}
_EXPERTS = {
    **_DECODER,
    "hidden_size": 1024,
    "num_hidden_layers": 8,
    "num_key_value_heads": 8,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
_T5 = {
    "d_model": 768,
    "d_ff": 3072,
    "num_layers": 12,
    "num_heads": 12,
    "decoder_start_token_id": 0,
}
_WHISPER = {
    "d_model": 768,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
}
_DEBERTA = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_relative_positions": -1,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_MIXTRAL = {**_EXPERTS, "intermediate_size": 3584, "num_local_experts": 8, "num_experts_per_tok": 2}
_QWEN = {
    **_EXPERTS,
    "num_experts": 32,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 704,
    "shared_expert_intermediate_size": 2816,
}
_OLMOE = {**_EXPERTS, "intermediate_size": 512, "num_experts": 32, "num_experts_per_tok": 8}


def _image(size: int, name: str = "pixel_values") -> dict[str, object]:
    return {"inputs": (f"{name}=1x3x{size}x{size}:float32",)}


ARCHITECTURES = (
    Architecture("BERT-base", "BertForMaskedLM", "bert", {}, options=_TEXT),
    Architecture("BERT-base classification", "BertForSequenceClassification", "bert", {}, options=_TEXT),
    Architecture("RoBERTa-base", "RobertaForMaskedLM", "roberta", {}, options=_TEXT),
    Architecture("DistilBERT", "DistilBertForMaskedLM", "distilbert", {}, options=_TEXT),
    Architecture("DeBERTa-v3-base", "DebertaV2ForSequenceClassification", "deberta-v2", _DEBERTA, options=_TEXT),
    Architecture("GPT-2", "GPT2LMHeadModel", "gpt2", {}, options=_TEXT),
    Architecture("Llama 1B bf16", "LlamaForCausalLM", "llama", _DECODER, options={**_TEXT, **_BF16}),
    Architecture("Mistral 1B bf16", "MistralForCausalLM", "mistral", _DECODER, options={**_TEXT, **_BF16}),
    Architecture("Mixtral-like bf16", "MixtralForCausalLM", "mixtral", _MIXTRAL, options={**_TEXT, **_BF16}),
    Architecture("Mixtral-like fp32", "MixtralForCausalLM", "mixtral", _MIXTRAL, options=_TEXT),
    Architecture("Qwen2-MoE-like bf16", "Qwen2MoeForCausalLM", "qwen2_moe", _QWEN, options={**_TEXT, **_BF16}),
    Architecture("Qwen2-MoE-like fp32", "Qwen2MoeForCausalLM", "qwen2_moe", _QWEN, options=_TEXT),
    Architecture("OLMoE-like bf16", "OlmoeForCausalLM", "olmoe", _OLMOE, options={**_TEXT, **_BF16}),
    Architecture("OLMoE-like fp32", "OlmoeForCausalLM", "olmoe", _OLMOE, options=_TEXT),
    Architecture("T5-base", "T5ForConditionalGeneration", "t5", _T5, options=_TEXT),
    Architecture("BART-large", "BartForConditionalGeneration", "bart", {}, options=_TEXT),
    Architecture("ViT-base", "ViTForImageClassification", "vit", {}),
    Architecture("Swin-tiny", "SwinForImageClassification", "swin", {}),
    Architecture("ResNet-50", "ResNetForImageClassification", "resnet", {}, options=_image(224)),
    Architecture("ConvNeXt-tiny", "ConvNextForImageClassification", "convnext", {}),
    Architecture("SegFormer-b0", "SegformerForSemanticSegmentation", "segformer", {}, options=_image(512)),
    Architecture("CLIP-base", "CLIPModel", "clip", {}, options={"seq": 77}),
    Architecture("Whisper-small", "WhisperForConditionalGeneration", "whisper", _WHISPER, options={"seq": 64}),
    Architecture(
        "Wav2Vec2-base", "Wav2Vec2ForCTC", "wav2vec2", {}, options={"inputs": ("input_values=1x80000:float32",)}
    ),
    Architecture("timm EfficientNet-B0", source="timm:efficientnet_b0", options=_image(224, "x")),
    Architecture("timm MobileNetV3", source="timm:mobilenetv3_large_100", options=_image(224, "x")),
    Architecture("U-Net with attention", source="py:benchmarks.models.torch_models:unet"),
    Architecture("nn.TransformerEncoder", source="py:benchmarks.models.torch_models:encoder"),
    Architecture("nn.Transformer", source="py:benchmarks.models.torch_models:sequence_to_sequence"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=comma_list, default="", help="rows whose name holds one of these texts")
    parser.add_argument("--devices", type=comma_list, default=("0", "1"), help="of the two stages, as 0,0 on one GPU")
    parser.add_argument("--limit", type=float, default=530, help="seconds for all")
    parser.add_argument("--no-profile", action="store_true", help="only rows whose profile is in the folder")
    options = parser.parse_args()
    os.chdir(ROOT)  # where the py: sources are found
    bench = Bench(options.out, options.limit)
    chosen = [
        each
        for each in ARCHITECTURES
        if not options.only or any(text.lower() in each.name.lower() for text in options.only)
    ]
    with tempfile.TemporaryDirectory(prefix="partkit-models-") as folder:
        plans = _plans(bench, chosen, Path(folder), options)
        devices = tuple(map(int, options.devices))
        choice = RunOptions(device="cuda", devices=devices, seconds=1.5, allow_code=True, timeout_s=120)
        results = bench.runs([Run(f"run-{name}", plan, choice) for name, plan in plans.items()])
    bench.write("\n".join(_table(plans, results, bench.problems)))
    return 0 if len(results) == len(chosen) and all(result.check.passed for result in results.values()) else 1


def _plans(bench: Bench, chosen: Sequence[Architecture], folder: Path, options: argparse.Namespace) -> dict[str, Plan]:
    """A plan of two stages for each row, by its file's name; with measured links where there are two GPUs."""
    on_two = len(set(options.devices)) == 2
    specs = {}
    for each in chosen:
        name = _file_name(each)
        if not options.no_profile or (bench.out / f"profile-{name}.json").exists():
            with bench.noted(f"profile-{name}"):
                specs[f"profile-{name}"] = parse_model(each.folder_source(folder), **each.options)
    profiles = bench.profiles(
        specs, "cuda", lambda: machine_cluster(2, device="cuda") if on_two else None, allow_code=True
    )
    cluster = machine_cluster(2, device="cuda") if on_two else load_cluster("2x-nvlink")
    plans = {}
    for key, profile in profiles.items():
        name = key.removeprefix("profile-")
        with bench.noted(f"plan-{name}"):
            spec = specs[key].model_copy(update={"structure_sha256": profile.model.structure_sha256})
            source = spec.source if spec.source.startswith("hf:") else profile.model.source
            profile = profile.model_copy(update={"model": profile.model.model_copy(update={"source": source})})
            plans[name] = plan_as_asked(profile, cluster, PlanRequest(num_stages=2, exact_num_stages=True))
    return plans


def _table(plans: Mapping[str, Plan], results: Mapping[str, RunResult], problems: Mapping[str, str]) -> Iterator[str]:
    yield "| model | largest difference (allowed) | samples/s | efficiency | prediction error | stage ms | remark |"
    yield "|---|---|---:|---:|---:|---|---|"
    for name in plans:
        run = results.get(f"run-{name}")
        if run is None:
            yield f"| {name} | | | | | | {problems.get(f'run-{name}', 'not run')} |"
            continue
        stages = ", ".join(f"{stage.measured_s * 1e3:.3g}" for stage in run.stages)
        agrees = f"{run.check.max_abs_diff} ({run.check.tolerance:.2g})" if run.check.passed else "DIFFERS"
        efficiency = "–" if run.bottleneck_efficiency is None else f"{run.bottleneck_efficiency:.1%}"
        remark = "; ".join(dict.fromkeys((*run.warnings, *run.notes)))
        yield (
            f"| {name} | {agrees} | {run.steady_samples_per_s:.4g} | {efficiency} | {run.prediction_error:.1%} | "
            f"{stages} | {remark} |"
        )
    for name, problem in problems.items():
        if name.startswith(("profile-", "plan-")):
            yield f"| {name} | | | | | | {problem} |"


def _file_name(each: Architecture) -> str:
    return each.name.replace(" ", "-").replace(".", "-").lower()


if __name__ == "__main__":
    sys.exit(main())
