"""Checkpoints of every architecture with random weights and trained tokenizers, small enough to be made in a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# By test name: transformers' model type and what its config adds.
MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-3": ("llama", {"rope_parameters": LLAMA_3_ROPE}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}),
    "llama-tied": ("llama", {"tie_word_embeddings": True, "head_dim": 32}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2-yarn": (
        "qwen2",
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
                             "original_max_position_embeddings": 128}},
    ),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3-moe": ("qwen3_moe", {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
                                "norm_topk_prob": True}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "gemma2": ("gemma2", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 32,
                          "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}),
    "gemma3": ("gemma3_text", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 32,
                               "num_hidden_layers": 7}),
    "phi3": ("phi3", {"sliding_window": None}),
    "phi3-long": (
        "phi3",
        {"sliding_window": None, "original_max_position_embeddings": 512, "max_position_embeddings": 1024,
         "rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 512,
                             "short_factor": [1.0 + 0.01 * n for n in range(8)],
                             "long_factor": [2.0 + 0.5 * n for n in range(8)]}},
    ),
    "granite": ("granite", {"attention_multiplier": 0.25, "embedding_multiplier": 3.0, "residual_multiplier": 0.5,
                            "logits_scaling": 2.0}),
    "olmo2": ("olmo2", {}),
}  # fmt: skip
WORDS = (
    "The planner decides, the caller writes the call, and the summarizer answers.\n",
    "def add(a: int, b: int) -> int:\n    return a + b  # 12345\n",
    "Été à Zürich: 20 °C, naïve café — „gut“ 你好世界 こんにちは Привет мир שלום 🚀🦙\n",
    "I'll say it's 3.14, isn't it? We've 1000000 reasons.   \t  indented\r\n\r\n",
)
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def save_model(folder: Path, name: str, vocabulary: int = 600, **more: Any) -> Any:
    """Write the named model to a folder with random weights; gives back transformers' model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, config = MODELS[name]
    torch.manual_seed(7)
    made = AutoConfig.for_model(kind, **{**COMMON, "vocab_size": vocabulary, **config, **more})
    model = AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            # Norms and biases are all alike at first, which would hide one in the wrong place.
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
            elif "embed" not in key:
                parameter *= 4
    model.save_pretrained(folder)
    return model


def save_tokenizer(folder: Path, way: str = "qwen2", size: int = 590) -> Any:
    """Train a tokenizer and write its files; gives back the tokenizers library's object.

    `way`: qwen2, llama-3, gpt-2, smollm (all byte-level), llama-2 (SentencePiece-like BPE) or unigram.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    special = ["<s>", "<|im_end|>", "<|im_start|>"]
    if way == "unigram":
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        made.decoder = decoders.Metaspace(prepend_scheme="always")
        trainer: Any = trainers.UnigramTrainer(vocab_size=size, special_tokens=[*special, "<unk>"], unk_token="<unk>")
    elif way == "llama-2":
        made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        octets = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*special, "<unk>", *octets])
    else:
        made = Tokenizer(models.BPE(ignore_merges=way == "llama-3"))
        cut: list[Any] = []
        if way in ("qwen2", "llama-3"):
            cut = [pre_tokenizers.Split(Regex(QWEN2 if way == "qwen2" else LLAMA_3), "isolated")]
        elif way == "smollm":
            cut = [pre_tokenizers.Digits(individual_digits=True)]
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [*cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=way in ("gpt-2", "smollm"))]
        )
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    made.train_from_iterator(WORDS * 4, trainer)
    made.add_tokens([AddedToken("<tool>", normalized=False)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    if way == "llama-2":
        _without_specials_in_model(folder / "tokenizer.json")
    config = {
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "add_bos_token": False,
        "chat_template": CHAT,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return made


def _without_specials_in_model(path: Path) -> None:
    """The trainer lists byte tokens as added ones, which no published tokenizer does."""
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] = [entry for entry in tokenizer["added_tokens"] if not entry["content"].startswith("<0x")]
    path.write_text(json.dumps(tokenizer))


def save_sentencepiece(folder: Path, kind: str = "bpe", size: int = 560) -> Any:
    """Train Google's own tokenizer and write tokenizer.model; gives back its processor."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "corpus.txt"
    text.write_text("\n".join(line for words in WORDS for line in words.splitlines()) * 3, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=size,
        model_type=kind,
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity" if kind == "bpe" else "nmt_nfkc",
        remove_extra_whitespaces=kind != "bpe",
        minloglevel=2,
    )
    text.unlink()
    (folder / "tokenizer.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
