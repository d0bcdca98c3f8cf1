"""One stage of training: adapters learn their roles' turns, and a kill at any moment loses at most a minute.

Each optimizer step reads some packed rows. A row's trunk is computed once by the plain backbone, then every adapter
that has turns in the row learns from them, so training three roles costs little more than training one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from umi_local.errors import UsageError
from umi_local.messages import Role
from umi_local.training import backbone, checkpoint, forward
from umi_local.training.joining import ids_of
from umi_local.training.packing import Row, batches, rows
from umi_local.training.recipe import Recipe, Stage
from umi_local.training.samples import Sample

_CLIP = 1.0
_SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stage trains: adapters by name, each with the roles whose turns it learns, and where they start from.

    `samples` is the digest of what it learns from. With `seconds` the stage ends after that much work, if its data does
    not end first, and its learning rate falls by the clock.
    """

    name: str
    adapters: Mapping[str, tuple[Role, ...]]
    learn: Stage
    start: Mapping[str, backbone.State]
    samples: str
    seconds: float = math.inf

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(role for roles in self.adapters.values() for role in roles)


@dataclass(frozen=True, slots=True)
class Progress:
    """After an optimizer step: the mean loss per target token of each adapter, and how far the stage is.

    `seconds` of work are behind it and about `left` before it.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    held_out: Mapping[str, float]
    learning_rate: float
    tokens: int
    seconds: float
    left: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`finished` is false when the time ran out first; the same command then goes on."""

    finished: bool
    steps: int
    seconds: float


class StageRun:
    """A stage in its folder: `checkpoint.pt` while it runs, `metrics.jsonl`, and an adapter per name at its end.

    Raises:
        UsageError: every sample is held out.
    """

    def __init__(self, model: Any, recipe: Recipe, plan: Plan, samples: Sequence[Sample], folder: Path) -> None:
        self.model, self.plan, self.folder = model, plan, folder
        self.accelerator = Accelerator(cpu=model.device.type == "cpu")
        self._start = checkpoint.digest_of(plan.start)
        kept, self._held_out = _split(samples, plan.roles, recipe)
        if not kept:
            raise UsageError(
                "Every sample is held out, so there is none to learn from.",
                "Lower the recipe's held_out, or make more samples.",
            )
        epochs = math.ceil(plan.learn.epochs)
        order: list[Sequence[Row]] = []
        for epoch in range(epochs):
            # Each stage has an order of its own: one that ends early does not see the same runs as the one before it.
            packed = rows(kept, recipe.row_tokens, f"{recipe.seed} {plan.name} {epoch}")
            order += batches(packed, plan.learn.batch)
        self._batches = order[: max(1, round(len(order) * plan.learn.epochs / epochs))]
        self._heads = forward.Heads()
        for name, state in plan.start.items():
            backbone.set_state(model, name, state)
        self._parameters = {name: backbone.parameters_of(model, name) for name in plan.adapters}
        self._optimizer = torch.optim.AdamW(
            [parameter for each in self._parameters.values() for parameter in each],
            lr=plan.learn.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=plan.learn.weight_decay,
        )
        self._step, self._seconds, self._ended = 0, 0.0, False

    @property
    def steps(self) -> int:
        return len(self._batches)

    @property
    def _done(self) -> float:
        """The share of the stage that is behind us, by its data or by its clock."""
        return 1.0 if self._ended else max(self._step / self.steps, self._seconds / self.plan.seconds)

    @property
    def _left(self) -> float:
        """About how many seconds of work are left."""
        return min(self._seconds / self._step * (self.steps - self._step), self.plan.seconds - self._seconds)

    def train(self, time_is_up: Callable[[], bool], tell: Callable[[Progress], None]) -> Outcome:
        """Train to the end, or until the time is up, from the last checkpoint if there is one; one step at least, so
        that the same command again and again comes to the end, too.

        Raises:
            UsageError: the last checkpoint is of other samples, or of a stage that was begun with other adapters.
            StorageError: the folder cannot be written; the last checkpoint is whole.
        """
        self._resume()
        saved, begun = time.monotonic(), self._step
        while self._done < 1 and (self._step == begun or not self._said(time_is_up())):
            started, quarter = time.monotonic(), int(4 * self._done)
            learning_rate = self._set_learning_rate()
            losses, tokens = self._learn(self._batches[self._step])
            self._step += 1
            self._seconds = self._said(self._seconds + time.monotonic() - started)
            held_out = self.evaluate() if int(4 * self._done) > quarter else {}
            progress = Progress(
                self._step, self.steps, losses, held_out, learning_rate, tokens, self._seconds, self._left
            )
            if self.accelerator.is_main_process:
                checkpoint.append_metrics(self.folder, _as_metrics(progress))
                tell(progress)
            if time.monotonic() - saved > _SAVE_EVERY:
                self._save()
                saved = time.monotonic()
        self._save()
        finished = self._done >= 1
        if finished and self.accelerator.is_main_process:
            for name in self.plan.adapters:
                checkpoint.save_adapter(self.folder / name, self.model, name)
        self.accelerator.wait_for_everyone()
        return Outcome(finished, self._step, self._seconds)

    def evaluate(self) -> dict[str, float]:
        """The mean loss per target token of each adapter on the samples held out."""
        sums = dict.fromkeys(self.plan.adapters, 0.0)
        counts = dict.fromkeys(self.plan.adapters, 0)
        with torch.no_grad():
            for row in self._held_out:
                trunk = forward.trunk_of(self.model, row, self._heads)
                for name, role in self._turns(row):
                    self.model.set_adapter(name)
                    loss, count = forward.loss_of(self.model, row, role, trunk)
                    sums[name] += float(loss)
                    counts[name] += count
        return {name: sums[name] / counts[name] for name in sums if counts[name]}

    def _learn(self, batch: Sequence[Row]) -> tuple[dict[str, float], int]:
        """One optimizer step. Each process takes its share of the rows; the gradients are added up."""
        targets = {
            name: sum(row.targets(role) for row in batch for role in roles)
            for name, roles in self.plan.adapters.items()
        }
        sums = torch.zeros(len(targets), device=self.model.device)
        mine = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        for row in mine:
            trunk = forward.trunk_of(self.model, row, self._heads)
            for name, role in self._turns(row):
                self.model.set_adapter(name)
                loss, _ = forward.loss_of(self.model, row, role, trunk)
                self.accelerator.backward(loss / targets[name])
                sums[list(targets).index(name)] += loss.detach()
        self._update()
        total = self.accelerator.reduce(sums, "sum")
        losses = {name: float(total[i]) / n for i, (name, n) in enumerate(targets.items()) if n}
        return losses, sum(targets.values())

    def _update(self) -> None:
        for parameters in self._parameters.values():
            for parameter in parameters:
                if self.accelerator.num_processes > 1:
                    grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad = self.accelerator.reduce(grad, "sum")
            torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _turns(self, row: Row) -> list[tuple[str, Role]]:
        """Which adapter learns which role's turns of a row."""
        return [(name, role) for name, roles in self.plan.adapters.items() for role in roles if row.of(role)]

    def _set_learning_rate(self) -> float:
        """Linear warm-up, then a cosine to a tenth."""
        learn, done = self.plan.learn, self._done
        warm = max(1 / self.steps, learn.warmup)
        if done < warm:
            share = min(1.0, (done + 1 / self.steps) / warm)
        else:
            share = 0.1 + 0.45 * (1 + math.cos(math.pi * (done - warm) / max(1 / self.steps, 1 - warm)))
        for group in self._optimizer.param_groups:
            group["lr"] = learn.learning_rate * share
        return learn.learning_rate * share

    def _said(self, value: float) -> float:
        """What the first process says: their clocks differ, and one that went on alone would wait for ever."""
        if self.accelerator.num_processes == 1:
            return value
        told = torch.tensor([value], device=self.model.device, dtype=torch.float32)
        return float(broadcast(told).item())

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            adapters = {name: backbone.state_of(self.model, name) for name in self.plan.adapters}
            optimizer, finished = self._optimizer.state_dict(), self._done >= 1
            state = checkpoint.State(
                self.plan.samples, self._step, self._seconds, adapters, optimizer, finished, self._start
            )
            checkpoint.save(self.folder, state)

    def _resume(self) -> None:
        state = checkpoint.last(self.folder)
        if state is not None:
            self._check_same(state)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            checkpoint.forget_metrics(self.folder, after=state.step if state else 0)
        if state is None:
            return
        for name, tensors in state.adapters.items():
            backbone.set_state(self.model, name, tensors)
        self._optimizer.load_state_dict(state.optimizer)
        self._step, self._seconds, self._ended = state.step, state.seconds, state.finished

    def _check_same(self, state: checkpoint.State) -> None:
        """That a checkpoint is of what is trained here."""
        if state.samples != self.plan.samples:
            raise UsageError(
                f"The stage in {self.folder} was begun on other samples.", "Remove that folder to begin it again."
            )
        if state.start and state.start != self._start:
            others = "no adapters" if state.start == checkpoint.NOTHING else "other adapters than these"
            raise UsageError(
                f"The stage in {self.folder} was begun with {others}.",
                "Give the options that it was begun with, or remove that folder to begin it again.",
            )


def _split(samples: Sequence[Sample], roles: Sequence[Role], recipe: Recipe) -> tuple[list[Sample], list[Row]]:
    """What is learnt from, and the rows held out: the same runs in every stage, chosen by their ids.

    A joined run is held out with any of those that it was made of.
    """

    def is_held(sample: Sample) -> bool:
        return any(checkpoint.share_of(id, recipe.seed) < recipe.held_out for id in ids_of(sample.id))

    kept: list[Sample] = []
    held: list[Sample] = []
    for sample in samples:
        if (own := sample.only(roles)) is not None:
            (held if is_held(sample) else kept).append(own)
    return kept, rows(held, recipe.row_tokens, "held out")


def _as_metrics(progress: Progress) -> dict[str, Any]:
    return {
        "step": progress.step,
        "steps": progress.steps,
        "losses": {name: round(loss, 5) for name, loss in progress.losses.items()},
        "held_out": {name: round(loss, 5) for name, loss in progress.held_out.items()},
        "learning_rate": progress.learning_rate,
        "tokens": progress.tokens,
        "seconds": round(progress.seconds, 2),
    }
