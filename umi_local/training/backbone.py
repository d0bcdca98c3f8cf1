"""The backbone in PyTorch with an activated LoRA adapter per role. The only place where adapters get their shape.

transformers dequantises the pack's own GGUF, so that adapters learn to live with the weights that they will meet.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM

from umi_local.errors import ModelCorrupt
from umi_local.training.recipe import Adapter

State = Mapping[str, torch.Tensor]


def load(gguf: Path, device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Any:
    """The backbone's weights, dequantised to `dtype`.

    Raises:
        ModelCorrupt: transformers cannot read the file or does not know its architecture.
    """
    # It warns that a dequantised model cannot be saved as a GGUF; adapters are all that is saved here.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelCorrupt(f"{gguf.name} cannot be loaded for training: {error}.") from None
    return model.to(device).eval()


def with_adapters(model: Any, shape: Adapter, invocations: Mapping[str, Sequence[int]], seed: int) -> Any:
    """The model with a new adapter per name. Each acts from its invocation tokens on (aLoRA, arXiv 2504.12397)."""
    torch.manual_seed(seed)
    (first, tokens), *others = invocations.items()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, _config(shape, tokens), adapter_name=first)
        for name, tokens in others:
            adapted.add_adapter(name, _config(shape, tokens))
    return adapted


def state_of(model: Any, name: str) -> dict[str, torch.Tensor]:
    """An adapter's tensors by PEFT's names, without the adapter's own name in them."""
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=name)
    return {key: tensor.detach().to("cpu", torch.float32).clone() for key, tensor in state.items()}


def set_state(model: Any, name: str, state: State) -> None:
    """Put tensors into an adapter.

    Raises:
        ModelCorrupt: they are not those of an adapter of this shape.
    """
    wanted = state_of(model, name)
    if {key: tensor.shape for key, tensor in wanted.items()} != {key: tensor.shape for key, tensor in state.items()}:
        raise ModelCorrupt("The adapter to start from has another shape.", "Train both stages with the same recipe.")
    set_peft_model_state_dict(model, dict(state), adapter_name=name)


def parameters_of(model: Any, name: str) -> list[torch.nn.Parameter]:
    """The trainable tensors of one adapter."""
    return [parameter for key, parameter in model.named_parameters() if f".{name}." in key]


def _config(shape: Adapter, invocation: Sequence[int]) -> LoraConfig:
    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        target_modules=list(shape.targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        alora_invocation_tokens=list(invocation),
    )
