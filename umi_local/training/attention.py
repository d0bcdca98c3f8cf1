"""Attention of turns that fork from a trunk without gradients, for CPUs.

PyTorch's own attention for CPUs spends most of a training step on gradients of the trunk's keys and values, which are
thrown away: a turn of 100 tokens looks at 3,000. Here the gradients stop at the turn's own tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from umi_local.errors import UsageError

NAME = "umi_local_fork"


def use(model: Any) -> None:
    """Let a model on a CPU attend this way where it learns; where it only reads nothing changes.

    Raises:
        UsageError: the model's attention is not the plain one that this computes.
    """
    if model.config._attn_implementation != "sdpa" or getattr(model.config, "attn_logit_softcapping", None):
        raise UsageError(
            f"Models of the kind {model.config.model_type} cannot be trained here: their attention is another.",
            "Choose a Llama, Mistral, Qwen or the like as the backbone.",
        )
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: queries (1, heads, tokens, width), keys and values (1, key heads, keys, width).

    The mask is (1, 1, tokens, keys), true where a token may look. Returns (1, tokens, heads, width).
    """
    if not query.requires_grad or attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    _, heads, tokens, width = query.shape
    groups = key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    # Query heads that share a key head are rows of one matrix.
    rows = query.reshape(groups, heads // groups * tokens, width)
    # To add a number is many times faster than to fill where a mask is true.
    bias = torch.zeros(attention_mask.shape[2:]).masked_fill_(~attention_mask[0, 0], float("-inf"))
    output: torch.Tensor = _Fork.apply(rows, key[0], value[0], bias, scale)  # type: ignore[no-untyped-call]
    return output.reshape(1, heads, tokens, width).transpose(1, 2), None


class _Fork(torch.autograd.Function):
    """softmax(q k') v, with no gradient for the keys and values before the last ones, which are the queries' own.

    Args of `apply`: queries (groups, heads per group x tokens, width), keys and values (groups, keys, width), a bias
    (tokens, keys) of the scores, and their scale. Scores and softmax are in float32.
    """

    @staticmethod
    def forward(
        context: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor, scale: float
    ) -> torch.Tensor:
        groups, rows, _ = q.shape
        tokens, keys = bias.shape
        scores = torch.bmm(q.float() * scale, k.float().transpose(1, 2))
        scores.view(groups, rows // tokens, tokens, keys).add_(bias)
        weights = torch.softmax(scores, dim=-1, out=scores).to(q.dtype)
        output = torch.bmm(weights, v)
        context.save_for_backward(q, k, v, weights, output)
        context.scale, context.tokens = scale, tokens
        return output

    @staticmethod
    def backward(context: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        q, k, v, weights, output = context.saved_tensors
        own = slice(k.shape[1] - context.tokens, None)
        # The difference in float32: both sides are near each other.
        towards = torch.bmm(grad, v.transpose(1, 2)).float()
        towards.sub_((grad.float() * output).sum(-1, keepdim=True)).mul_(weights).mul_(context.scale)
        towards = towards.to(q.dtype)
        grad_k, grad_v = torch.zeros_like(k), torch.zeros_like(v)
        grad_k[:, own] = torch.bmm(towards[:, :, own].transpose(1, 2), q)
        grad_v[:, own] = torch.bmm(weights[:, :, own].transpose(1, 2), grad)
        return torch.bmm(towards, k), grad_k, grad_v, None, None
