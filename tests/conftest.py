"""What several test files share: a scripted agent with small tools, and the real models, pulled once and kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import pytest

from umi_local.agent import Agent, RunLimits
from umi_local.backends.scripted import Line, ScriptedBackend
from umi_local.events import Event
from umi_local.markup import markup_for
from umi_local.messages import ModelInfo
from umi_local.packs import load_pack
from umi_local.paths import HOME_VARIABLE
from umi_local.prompts import ChatRenderer
from umi_local.roles import Single, Team, TurnLimits, Turns
from umi_local.styles.data import chat_style
from umi_local.toolbox import Approval, LocalToolbox, ToolContext, ToolError, Workspace, tool

# Where the models lie between test runs; a clean machine fills it through `models pull`.
MODEL_CACHE = Path(os.environ.get("UMI_LOCAL_TEST_HOME", Path.home() / ".cache" / "umi-local-tests"))


# A shell that starts pytest in the background has it ignore Ctrl-C, and its children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's data."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of a test are pressed at once, and are meant."""
    monkeypatch.setattr("umi_local.tui.screens.SETTLE", 0.0)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    MODEL_CACHE.mkdir(parents=True, exist_ok=True)
    return MODEL_CACHE


def _pulled(pack: str, home: Path) -> Path:
    from umi_local.messages import Role
    from umi_local.pull import pull

    before = os.environ.get(HOME_VARIABLE)
    os.environ[HOME_VARIABLE] = str(home)
    try:
        return pull(load_pack(pack).model(Role.PLANNER), lambda *_: None)
    finally:
        if before is None:
            del os.environ[HOME_VARIABLE]
        else:
            os.environ[HOME_VARIABLE] = before


@pytest.fixture(scope="session")
def small_model(model_cache: Path) -> Path:
    """SmolLM2-135M-Instruct, 98 MB."""
    return _pulled("smollm2-135m", model_cache)


@pytest.fixture(scope="session")
def default_model(model_cache: Path) -> Path:
    """Qwen2.5-Coder-0.5B-Instruct, 491 MB."""
    return _pulled("qwen2.5-coder-0.5b", model_cache)


@tool()
def add(a: Annotated[int, "first"], b: Annotated[int, "second"]) -> str:
    """Add two integers."""
    return f"{a} + {b} = {a + b}"


@tool()
def fail(reason: str) -> str:
    """Always fails."""
    raise ToolError(reason)


@tool(asks=True)
def launch(target: str) -> str:
    """Asks before it acts."""
    return f"launched at {target}"


@tool()
def long(lines: int) -> str:
    """A long text."""
    return "\n".join(f"line {i}" for i in range(lines))


TEST_TOOLS = (add, fail, launch, long)


class Scripted:
    """An agent whose roles say what they are told to, with everything it emitted."""

    def __init__(self, script: list[Line], workspace: Path, single: bool = False, **options: object) -> None:
        approval = options.pop("approval", Approval())
        context_tokens = options.pop("context_tokens", 8192)
        limits = RunLimits(**options)  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.backend = ScriptedBackend(script, context_tokens=context_tokens)  # type: ignore[arg-type]
        style = chat_style()
        markup = markup_for("chatml", ModelInfo("scripted", 8192), style.speakers, style.cues)
        turns = Turns(self.backend, ChatRenderer(style, markup, folded=single), *_defaults(), self.events.append)
        toolbox = LocalToolbox(TEST_TOOLS, ToolContext(Workspace(workspace), workspace / "notes.md"), approval)  # type: ignore[arg-type]
        crew = Single(turns) if single else Team(turns)
        self.agent = Agent(crew, self.backend, toolbox, self.events.append, limits)


def _defaults() -> tuple[object, TurnLimits]:
    from umi_local.messages import Sampling

    return Sampling(), TurnLimits(calls=3)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[..., Scripted]]:
    def make(script: list[Line], single: bool = False, **options: object) -> Scripted:
        return Scripted(script, tmp_path, single, **options)

    yield make
