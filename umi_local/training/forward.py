"""The packed forward pass: a row's trunk once by the plain backbone, then one role's turns by its adapter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import Any

import torch
import torch.nn.functional as functional
from transformers import DynamicCache

from umi_local.messages import Role
from umi_local.training.attention import Fork
from umi_local.training.packing import Row, Span

_HEADS_KEPT = 24

KeysAndValues = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(slots=True)
class Heads:
    """Keys and values of the heads read last: most everyday runs begin with the same tools."""

    kept: OrderedDict[tuple[int, ...], KeysAndValues] = field(default_factory=OrderedDict)

    def of(self, model: Any, head: tuple[int, ...]) -> KeysAndValues:
        """One pair of tensors (1, key heads, tokens, width) per layer."""
        if head not in self.kept:
            cache = DynamicCache(config=model.config)
            ids = torch.tensor([head], device=model.device)
            read(model, ids, torch.arange(len(head), device=model.device)[None], None, cache)
            self.kept[head] = layers_of(cache)
            if len(self.kept) > _HEADS_KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(head)
        return self.kept[head]


def trunk_of(model: Any, row: Row, heads: Heads) -> KeysAndValues:
    """Keys and values of a row's whole trunk as the backbone without any adapter computes them."""
    with torch.no_grad(), model.disable_adapter():
        cache = cache_of(model, heads.of(model, row.head)) if row.head else DynamicCache(config=model.config)
        tokens = [token for trunk in row.trunks for token in trunk]
        if tokens:
            run, place = _places(row, model.device)
            same_run = run[:, None] == run[None, :]
            mask = same_run & (place[None, :] <= place[:, None])
            mask = functional.pad(mask, (len(row.head), 0), value=True)
            ids = torch.tensor([tokens], device=model.device)
            forks = _forks(mask, [(run, len(trunk)) for run, trunk in enumerate(row.trunks)], row, len(row.head))
            read(model, ids, (place + len(row.head))[None], mask, cache, forks)
        return layers_of(cache)


def loss_of(model: Any, row: Row, role: Role, trunk: KeysAndValues) -> tuple[torch.Tensor, int]:
    """The summed cross-entropy of the role's targets, and how many there are. The role's adapter must be active."""
    turns = row.of(role)
    tokens = torch.tensor([token for turn in turns for token in turn.tokens], device=model.device)
    places, mask = turn_mask(row, turns, model.device)
    predicting = torch.tensor(_predicting(turns), device=model.device)
    output = model(
        input_ids=tokens[None],
        position_ids=places[None],
        attention_mask=mask[None, None],
        cache=cache_of(model, trunk),
        forks=_forks(mask, [(turn.run, len(turn.tokens)) for turn in turns], row, mask.shape[1] - len(tokens)),
        # Told where the adapter begins, PEFT need not look for its invocation; here that is everywhere.
        alora_offsets=[len(tokens)],
        logits_to_keep=predicting,
    )
    losses = functional.cross_entropy(output.logits[0].float(), tokens[predicting + 1], reduction="sum")
    return losses, len(predicting)


def turn_mask(row: Row, turns: Sequence[Span], device: Any = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Positions (tokens,) of the turns' tokens, and what each may see (tokens, head + trunks + tokens)."""
    lists = [(i, place, turn.at, turn.run) for i, turn in enumerate(turns) for place in range(len(turn.tokens))]
    number, within, at, of_run = torch.tensor(lists, device=device).T
    run, place = _places(row, device)
    in_trunk = (of_run[:, None] == run) & (place < at[:, None])
    in_turn = (number[:, None] == number) & (within <= within[:, None])
    head = torch.ones(len(number), len(row.head), dtype=torch.bool, device=device)
    return len(row.head) + at + within, torch.cat([head, in_trunk, in_turn], dim=1)


def read(
    model: Any,
    ids: torch.Tensor,
    places: torch.Tensor,
    mask: torch.Tensor | None,
    cache: DynamicCache,
    forks: Sequence[Fork] = (),
) -> None:
    """Run tokens through the backbone for their keys and values alone."""
    model(
        input_ids=ids,
        position_ids=places,
        attention_mask=None if mask is None else mask[None, None],
        cache=cache,
        use_cache=True,
        logits_to_keep=torch.tensor([0], device=ids.device),
        forks=forks,
    )


def layers_of(cache: DynamicCache) -> KeysAndValues:
    layers: Any = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def cache_of(model: Any, layers: KeysAndValues) -> DynamicCache:
    """A cache that holds these tensors; adding to it leaves them as they are."""
    cache = DynamicCache(config=model.config)
    for index, (keys, values) in enumerate(layers):
        cache.update(keys, values, index)
    return cache


def _places(row: Row, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token of the row's trunks: which run it belongs to, and its place in that run's trunk."""
    run = [number for number, trunk in enumerate(row.trunks) for _ in trunk]
    place = [index for trunk in row.trunks for index in range(len(trunk))]
    return torch.tensor(run, device=device, dtype=torch.long), torch.tensor(place, device=device, dtype=torch.long)


def _forks(mask: torch.Tensor, parts: Sequence[tuple[int, int]], row: Row, earlier: int) -> list[Fork]:
    """The runs of a pass, one fork each, of its parts in order: each part's run, and how many tokens it has.

    The keys are the row's head, then the trunks as far as they are read before, `earlier` tokens in all, then the own.
    """
    starts = list(accumulate((len(trunk) for trunk in row.trunks), initial=len(row.head)))
    forks: list[Fork] = []
    start = 0
    for run, held in groupby(parts, key=lambda part: part[0]):
        end = start + sum(tokens for _, tokens in held)
        keys = (
            slice(0, len(row.head)),
            slice(starts[run], min(earlier, starts[run + 1])),
            slice(earlier + start, earlier + end),
        )
        if end > start:
            forks.append(Fork.of(mask, slice(start, end), keys))
        start = end
    return forks


def _predicting(turns: Sequence[Span]) -> list[int]:
    """The tokens behind which a target stands, as indices into the turns' tokens."""
    indices: list[int] = []
    start = 0
    for turn in turns:
        indices += range(start + turn.given - 1, start + len(turn.tokens) - 1)
        start += len(turn.tokens)
    return indices
