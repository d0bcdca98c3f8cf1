"""The attention that training uses on a CPU is PyTorch's own, without gradients for the trunk."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from umi_local.training.attention import Fork

torch = pytest.importorskip("torch")

HEAD, TRUNKS, TURNS, HEADS, GROUPS, WIDTH = 9, (20, 11), (4, 3), 6, 2, 8
TOKENS, BEFORE = sum(TURNS), HEAD + sum(TRUNKS)


def forks_of(mask: torch.Tensor) -> list[Fork]:
    """Two runs: each sees the head, its own trunk and its own turns."""
    from umi_local.training.attention import Fork

    parts, start, trunk = [], 0, HEAD
    for held, tokens in zip(TRUNKS, TURNS, strict=True):
        own = slice(BEFORE + start, BEFORE + start + tokens)
        parts.append((slice(start, start + tokens), (slice(0, HEAD), slice(trunk, trunk + held), own)))
        start, trunk = start + tokens, trunk + held
    for queries, keys in parts:
        seen = torch.zeros(BEFORE + TOKENS, dtype=torch.bool)
        for part in keys:
            seen[part] = True
        mask[queries] &= seen
    return [Fork.of(mask, queries, keys) for queries, keys in parts]


def test_outputs_and_gradients_are_those_of_pytorchs_own() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from umi_local.training.attention import attend

    torch.manual_seed(1)
    module = SimpleNamespace(num_key_value_groups=HEADS // GROUPS, is_causal=True)
    trunk = [torch.randn(1, GROUPS, BEFORE, WIDTH) for _ in range(2)]
    own = [torch.randn(1, heads, TOKENS, WIDTH, requires_grad=True) for heads in (HEADS, GROUPS, GROUPS)]
    mask = torch.rand(TOKENS, BEFORE + TOKENS) < 0.6
    mask[:, BEFORE:] = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    forks = forks_of(mask)
    towards = torch.randn(1, TOKENS, HEADS, WIDTH)
    found = []
    for how, told in ((sdpa_attention_forward, ()), (attend, forks)):
        query, key, value = own
        keys, values = torch.cat([trunk[0], key], dim=2), torch.cat([trunk[1], value], dim=2)
        output, _ = how(module, query, keys, values, mask[None, None], scaling=0.3, forks=told)
        with torch.no_grad():
            read, _ = how(module, query, keys, values, mask[None, None], scaling=0.3, forks=told)
        found.append([output.detach(), read, *torch.autograd.grad(output, own, towards)])
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_where_no_forks_are_told_pytorchs_own_is_used() -> None:
    from umi_local.training.attention import attend

    module = SimpleNamespace(num_key_value_groups=HEADS // GROUPS, is_causal=True)
    query = torch.randn(1, HEADS, TOKENS, WIDTH)
    key, value = torch.randn(2, 1, GROUPS, TOKENS, WIDTH).unbind(0)
    output, _ = attend(module, query, key, value, None)
    wide = [each.repeat_interleave(HEADS // GROUPS, dim=1) for each in (key, value)]
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *wide, is_causal=True)
    torch.testing.assert_close(output, wanted.transpose(1, 2))
