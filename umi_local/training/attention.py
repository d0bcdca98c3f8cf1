"""Attention of runs that share a row, for CPUs: each run looks at the head and at itself alone.

PyTorch's own attention for CPUs computes the scores of all pairs in a row and throws most of them away: runs do not
see each other. It also spends much of a training step on gradients of the trunk's keys and values, which nobody needs.
Here scores are computed run by run, and gradients stop at a turn's own tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from umi_local.errors import UsageError

NAME = "umi_local_fork"


@dataclass(frozen=True, slots=True)
class Fork:
    """One run's part of a pass: its queries, the keys that any of them sees, and what to add to their scores.

    The last keys are the queries' own. `bias` (queries, keys) is 0 where a query may look and else minus infinity.
    """

    queries: slice
    keys: tuple[slice, ...]
    bias: torch.Tensor

    @classmethod
    def of(cls, mask: torch.Tensor, queries: slice, keys: Iterable[slice]) -> Fork:
        """The part of a pass's mask (queries, keys) that is true where a query may look."""
        kept = tuple(part for part in keys if part.stop > part.start)
        seen = torch.cat([mask[queries, part] for part in kept], dim=1)
        # To add a number is many times faster than to fill where a mask is true.
        return cls(queries, kept, torch.zeros(seen.shape, device=mask.device).masked_fill_(~seen, float("-inf")))

    def seen(self, keys: torch.Tensor) -> torch.Tensor:
        """Of all keys or values (groups, keys, width) those of this fork."""
        return torch.cat([keys[:, part] for part in self.keys], dim=1)


def use(model: Any) -> None:
    """Let a model on a CPU attend this way where it is told the forks of a row.

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
    forks: Sequence[Fork] = (),
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: queries (1, heads, tokens, width), keys and values (1, key heads, keys, width).

    The mask is (1, 1, tokens, keys), true where a token may look; the forks say the same. Returns (1, tokens, heads,
    width).
    """
    if not forks:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.requires_grad:
        output: torch.Tensor = _Forks.apply(query[0], key[0], value[0], forks, scale)  # type: ignore[no-untyped-call]
    else:
        output = _read(query[0], key[0], value[0], forks, scale)
    return output.transpose(0, 1)[None], None


def _read(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, forks: Sequence[Fork], scale: float
) -> torch.Tensor:
    output = torch.empty_like(query)
    for fork in forks:
        output[:, fork.queries] = functional.scaled_dot_product_attention(
            query[None, :, fork.queries],
            fork.seen(key)[None],
            fork.seen(value)[None],
            fork.bias.to(query.dtype),
            scale=scale,
            enable_gqa=True,
        )[0]
    return output


class _Forks(torch.autograd.Function):
    """softmax(q k') v of each fork, with no gradient for keys and values before the last ones, the queries' own.

    Args of `apply`: queries (heads, tokens, width), keys and values (groups, keys, width), the forks, and the scale of
    the scores. Scores and softmax are in float32.
    """

    @staticmethod
    def forward(
        context: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, forks: Sequence[Fork], scale: float
    ) -> torch.Tensor:
        groups = key.shape[0]
        output, weights = torch.empty_like(query), []
        for fork in forks:
            q, k = _rows(query[:, fork.queries], groups), fork.seen(key)
            scores = torch.bmm(q.float() * scale, k.float().transpose(1, 2))
            scores.view(groups, -1, *fork.bias.shape).add_(fork.bias)
            weights.append(torch.softmax(scores, dim=-1, out=scores).to(q.dtype))
            of_fork = output[:, fork.queries]
            of_fork.copy_(torch.bmm(weights[-1], fork.seen(value)).view_as(of_fork))
        context.save_for_backward(query, key, value, output, *weights)
        context.forks, context.scale = forks, scale
        return output

    @staticmethod
    def backward(context: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        query, key, value, output, *weights = context.saved_tensors
        groups, earlier = key.shape[0], key.shape[1] - query.shape[1]
        grad_q, grad_k, grad_v = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        # The difference in float32: both sides are near each other.
        means = (grad.float() * output).sum(-1, keepdim=True)
        for fork, weight in zip(context.forks, weights, strict=True):
            q, towards_output = _rows(query[:, fork.queries], groups), _rows(grad[:, fork.queries], groups)
            towards = torch.bmm(towards_output, fork.seen(value).transpose(1, 2)).float()
            towards.sub_(_rows(means[:, fork.queries], groups)).mul_(weight).mul_(context.scale)
            towards = towards.to(q.dtype)
            tokens = fork.queries.stop - fork.queries.start
            own = slice(earlier + fork.queries.start, earlier + fork.queries.stop)
            of_fork = grad_q[:, fork.queries]
            of_fork.copy_(torch.bmm(towards, fork.seen(key)).view_as(of_fork))
            grad_k[:, own] = torch.bmm(towards[:, :, -tokens:].transpose(1, 2), q)
            grad_v[:, own] = torch.bmm(weight[:, :, -tokens:].transpose(1, 2), towards_output)
        return grad_q, grad_k, grad_v, None, None


def _rows(heads: torch.Tensor, groups: int) -> torch.Tensor:
    """(heads, tokens, width) as (groups, heads per group x tokens, width): heads that share a key are one matrix."""
    return heads.reshape(groups, -1, heads.shape[-1])
