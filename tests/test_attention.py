"""The attention that training uses on a CPU is PyTorch's own, without gradients for the trunk."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

TRUNK, TOKENS, HEADS, GROUPS, WIDTH = 40, 7, 6, 2, 8


def test_outputs_and_gradients_are_those_of_pytorchs_own() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from umi_local.training.attention import attend

    torch.manual_seed(1)
    module = SimpleNamespace(num_key_value_groups=HEADS // GROUPS, is_causal=True)
    trunk = [torch.randn(1, GROUPS, TRUNK, WIDTH) for _ in range(2)]
    own = [torch.randn(1, heads, TOKENS, WIDTH, requires_grad=True) for heads in (HEADS, GROUPS, GROUPS)]
    mask = torch.rand(1, 1, TOKENS, TRUNK + TOKENS) < 0.6
    mask[..., TRUNK:] = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    towards = torch.randn(1, TOKENS, HEADS, WIDTH)
    found = []
    for how in (sdpa_attention_forward, attend):
        query, key, value = own
        keys, values = torch.cat([trunk[0], key], dim=2), torch.cat([trunk[1], value], dim=2)
        output, _ = how(module, query, keys, values, mask, scaling=0.3)
        found.append([output.detach(), *torch.autograd.grad(output, own, towards)])
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_where_nothing_is_learnt_pytorchs_own_is_used() -> None:
    from umi_local.training.attention import attend

    module = SimpleNamespace(num_key_value_groups=HEADS // GROUPS, is_causal=True)
    query = torch.randn(1, HEADS, TOKENS, WIDTH)
    key, value = torch.randn(2, 1, GROUPS, TOKENS, WIDTH).unbind(0)
    output, _ = attend(module, query, key, value, None)
    wide = [each.repeat_interleave(HEADS // GROUPS, dim=1) for each in (key, value)]
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *wide, is_causal=True)
    torch.testing.assert_close(output, wanted.transpose(1, 2))
