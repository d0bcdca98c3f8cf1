"""The backbone in PyTorch with an activated LoRA adapter per role. The only place where adapters get their shape.

transformers dequantises the pack's own GGUF, so that adapters learn to live with the weights that they will meet.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from umi_local.errors import ModelCorrupt, UsageError
from umi_local.training import attention
from umi_local.training.recipe import Adapter

State = Mapping[str, torch.Tensor]


def load(gguf: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> Any:
    """The backbone's weights, dequantised to `dtype`; without one, to what the device computes fastest.

    Raises:
        ModelCorrupt: transformers cannot read the file or does not know its architecture.
        UsageError: there is no such device.
    """
    _check(device)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    # It warns that a dequantised model cannot be saved as a GGUF; adapters are all that is saved here.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=dtype or fastest(device)
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelCorrupt(f"{gguf.name} cannot be loaded for training: {error}.") from None
    if device == "cpu":
        attention.use(model)
    else:
        # cuDNN's attention plans anew for every shape, and no two rows have the same.
        torch.backends.cuda.enable_cudnn_sdp(False)
    return model.to(device).eval()


def _check(device: str) -> None:
    """Raises UsageError where PyTorch cannot compute on a device."""
    try:
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):  # what it raises differs from device to device
        raise UsageError(
            f"PyTorch cannot use the device {device!r} here.", "Leave out --device to train on the CPU."
        ) from None


def fastest(device: str) -> torch.dtype:
    """float32 or bfloat16, whichever multiplies faster on the device: without units for it, bfloat16 is far slower."""
    if device != "cpu":
        return torch.bfloat16

    def seconds(dtype: torch.dtype) -> float:
        a, b = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
        taken = []
        for _ in range(4):
            started = time.perf_counter()
            torch.mm(a, b)
            taken.append(time.perf_counter() - started)
        return min(taken)

    return min((torch.float32, torch.bfloat16), key=seconds)


def with_adapters(model: Any, shape: Adapter, invocations: Mapping[str, Sequence[int]], seed: int) -> Any:
    """The model with a new adapter per name. Each acts from its invocation tokens on (aLoRA, arXiv 2504.12397).

    All that the packed pass gives to an adapter stands behind those tokens, so its layers are plain LoRA here: PEFT's
    own masks would find the same tokens again in every layer. A finished adapter is saved as what it is.
    """
    torch.manual_seed(seed)
    first, *others = invocations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, _config(shape), adapter_name=first)
        for name in others:
            adapted.add_adapter(name, _config(shape))
    for name, tokens in invocations.items():
        config: Any = adapted.peft_config[name]
        config.alora_invocation_tokens = list(tokens)
    return adapted


def state_of(model: Any, name: str) -> dict[str, torch.Tensor]:
    """An adapter's tensors by PEFT's names, without the adapter's own name in them."""
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
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


def _config(shape: Adapter) -> LoraConfig:
    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        target_modules=list(shape.targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
