"""What a run's thread tells the app's loop."""

from __future__ import annotations

import queue
from typing import Any

from textual.message import Message

from umi_local.conversation import Verdict
from umi_local.errors import UmiError
from umi_local.events import Event
from umi_local.toolbox import ApprovalRequest
from umi_local.trajectory import Trajectory


class AgentEvent(Message):
    """An event of the run that is going on."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class RunDone(Message):
    """The run is over: how it went and what it cost, or why it failed."""

    def __init__(self, run: Trajectory | None, stats: dict[str, Any], error: UmiError | None) -> None:
        super().__init__()
        self.run, self.stats, self.error = run, stats, error


class ApprovalWanted(Message):
    """A tool asks, and the run's thread waits for the verdict."""

    def __init__(self, request: ApprovalRequest, verdict: queue.Queue[Verdict]) -> None:
        super().__init__()
        self.request, self.verdict = request, verdict
