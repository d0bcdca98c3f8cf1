"""What the converter knows of each architecture: one entry each, and no branch on a name anywhere else.

A new architecture is a new entry. Tensor names come from the gguf library's own table; an entry says what that
table cannot: hyperparameters with other keys, and weights that llama.cpp wants in another arrangement.

Source of the arrangements: the modelling code of transformers and llama.cpp's graphs (`src/models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from umi_local.errors import UsageError

Keys = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a checkpoint of one class becomes GGUF.

    `gguf`: llama.cpp's name. `pairs_side_by_side`: llama.cpp rotates neighbouring elements of a head, transformers its
    two halves, so the rows of queries and keys change places. `norm_plus_one`: transformers adds 1 to a norm's weight
    while it runs. `floats`, `ints`: further hyperparameters, config.json's key to GGUF's (behind the architecture's
    name); those that a config lacks are left out. `defaults`: what transformers takes where config.json says nothing.
    `window`: attention of some layers reaches back that far; with `pattern` it is written which, unless all but every
    `whole_every`th do, as llama.cpp takes for granted. `experts`: its feed-forward
    layers may be mixtures. `long_factors`: rotary factors for long contexts are tensors. `drop_head_dim`: a head's
    width is not written. `rotary_width`: it is written as the number of rotated elements as well. `vocabulary`: the
    number of tokens is written. `space_prefix`: whether SentencePiece puts a space before a text, where that is fixed.
    `drop_output`: the output layer is the embedding, whatever a checkpoint holds. `off`: what says in GGUF that a
    setting is off, where config.json has null. `fixed`: settings of which llama.cpp has one way only; a config with
    another one is refused. `ignored`: settings that it does not have, which are warned of.
    """

    gguf: str
    pairs_side_by_side: bool = False
    norm_plus_one: bool = False
    floats: Keys = field(default_factory=dict)
    ints: Keys = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    window: str = ""
    whole_every: int = 0
    experts: bool = False
    long_factors: bool = False
    drop_head_dim: bool = False
    rotary_width: bool = False
    vocabulary: bool = False
    space_prefix: bool | None = None
    drop_output: bool = False
    off: Mapping[str, float] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


_LLAMA = Architecture(
    "llama",
    pairs_side_by_side=True,
    rotary_width=True,
    vocabulary=True,
    experts=True,
    ignored=("sliding_window",),
)
# A cap so far above any number that nothing is capped: llama.cpp always divides by it.
_UNCAPPED = 1e6
_GEMMA_2 = Architecture(
    "gemma2",
    norm_plus_one=True,
    floats={
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    defaults={"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096, "head_dim": 256},
    window="pattern",
    whole_every=2,
    space_prefix=False,
    drop_output=True,
    off={"attn_logit_softcapping": _UNCAPPED, "final_logit_softcapping": _UNCAPPED, "sliding_window": 1 << 24},
)
_GEMMA_3 = Architecture(
    "gemma3",
    norm_plus_one=True,
    floats={"final_logit_softcapping": "final_logit_softcapping"},
    defaults={
        "max_position_embeddings": 131072,
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "head_dim": 256,
        "rope_theta": 1_000_000.0,
        "sliding_window": 4096,
    },
    window="pattern",
    whole_every=6,
    space_prefix=False,
    drop_output=True,
    off={"sliding_window": 0},
)
_GRANITE = Architecture(
    "granite",
    pairs_side_by_side=True,
    rotary_width=True,
    vocabulary=True,
    floats={
        "attention_multiplier": "attention.scale",
        "embedding_multiplier": "embedding_scale",
        "residual_multiplier": "residual_scale",
        "logits_scaling": "logit_scale",
    },
    drop_head_dim=True,
)
# `architectures` of config.json.
ARCHITECTURES: Mapping[str, Architecture] = {
    "LlamaForCausalLM": _LLAMA,
    "LLaMAForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "MixtralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": Architecture("qwen2", ignored=("use_sliding_window",)),
    "Qwen3ForCausalLM": Architecture("qwen3", ignored=("use_sliding_window",)),
    "Qwen3MoeForCausalLM": Architecture(
        "qwen3moe",
        experts=True,
        ints={"moe_intermediate_size": "expert_feed_forward_length"},
        defaults={"norm_topk_prob": False},
        fixed={"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
        ignored=("use_sliding_window",),
    ),
    "Gemma2ForCausalLM": _GEMMA_2,
    "Gemma3ForCausalLM": _GEMMA_3,
    "Gemma3ForConditionalGeneration": _GEMMA_3,
    "Phi3ForCausalLM": Architecture(
        "phi3",
        window="always",
        long_factors=True,
        rotary_width=True,
        drop_head_dim=True,
        ignored=("sliding_window",),
    ),
    "GraniteForCausalLM": _GRANITE,
    "Olmo2ForCausalLM": Architecture("olmo2"),
    "Olmo3ForCausalLM": Architecture("olmo2", window="pattern"),
}


def architecture_of(config: Mapping[str, object]) -> Architecture:
    """The entry for a config.json.

    Raises:
        UsageError: it is none that is known; the sentence lists those.
    """
    if found := _known(config):
        return ARCHITECTURES[found[0]]
    known = ", ".join(name.removesuffix("ForCausalLM") for name in ARCHITECTURES if name.endswith("ForCausalLM"))
    asked = next(iter(_named(config)), "none at all")
    raise UsageError(f"The architecture {asked[:80]!r} is not known.", f"Known are: {known}.")


def is_known(config: Mapping[str, object]) -> bool:
    """Whether there is an entry for a config.json."""
    return bool(_known(config))


def _known(config: Mapping[str, object]) -> list[str]:
    return [name for name in _named(config) if name in ARCHITECTURES]


def _named(config: Mapping[str, object]) -> list[str]:
    named = config.get("architectures")
    return [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]
