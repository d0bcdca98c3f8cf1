"""What a suite is: items that are predicted and scored one by one, and how the scores add up.

A suite knows its data and its metrics; who is measured knows nothing of either. A prediction is JSON that can be kept
in a file and scored again, so a finished item is never run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from umi_local.messages import ToolCall
from umi_local.protocols import Toolbox
from umi_local.roles import Crew
from umi_local.trajectory import Decision, Next, Trajectory

# Of one item: the name of a metric -> the sum of its scores (0 to 1 each where the metric is a share) and how many
# units were scored. A metric that does not touch the item is left out or has the count 0.
Tally = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the table: the sum of the scores over the number of scored units, times 100 if `percent`."""

    title: str
    description: str
    percent: bool = True
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Item:
    """What is predicted, kept and scored as a whole, such as a conversation; also the cluster of the bootstrap.

    `stratum` groups items for the stratified sample that `--limit` draws; `content` is the suite's own.
    """

    id: str
    stratum: str
    content: Any


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """Figures published for another model or policy: name of a metric -> value as the table shows it."""

    name: str
    values: Mapping[str, float]
    note: str = "another model's"


@dataclass(frozen=True)
class Contestant:
    """Who is measured.

    `crew` takes single turns on a trajectory that the suite hands it (teacher-forced). `run` makes a whole run from
    a start, which has a query, tools, history and context but no steps, with the tools of the given toolbox.
    """

    crew: Crew
    run: Callable[[Trajectory, Toolbox], Trajectory]


class Suite(Protocol):
    """A set of items with metrics.

    `metrics` is in the order of the table, `notes` are caveats printed under it, `source` is the SHA-256 of the
    files that were read.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def metrics(self) -> Mapping[str, Metric]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def source(self) -> str: ...

    def items(self) -> Sequence[Item]: ...

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        """What the contestant does with an item, as JSON.

        Raises:
            UmiError: the backend failed; the item counts as not done. What would fail again the next time, such as
                a run that does not fit the context, is no such failure but a wrong prediction.
        """

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        """The scores of a prediction; the same for the same arguments."""

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        """What went wrong, in words; empty if all is right."""

    def reference_rows(self) -> Sequence[ReferenceRow]: ...

    def baselines(self) -> Mapping[str, Contestant]:
        """Trivial policies by name, measured like everybody else and shown as rows."""


@dataclass(frozen=True)
class Policy:
    """A crew of plain functions, as the trivial baselines and the callable agents of others are."""

    decide: Callable[[Trajectory], Next]
    act: Callable[[Trajectory], ToolCall]
    answer: Callable[[Trajectory], str] = field(default=lambda trajectory: "none")

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        return Decision("x", self.decide(trajectory))

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        return (self.act(trajectory),)

    def conclude(self, trajectory: Trajectory) -> str:
        return self.answer(trajectory)
