"""Where the parts meet: settings, a pack and tools become an agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from umi_local.agent import Agent, RunLimits
from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.constraints import inexpressible
from umi_local.errors import ConfigError, UsageError
from umi_local.evaluation.suite import Contestant
from umi_local.events import Warned
from umi_local.manifest import PackFile, RolePack
from umi_local.markup import markup_for
from umi_local.messages import TEAM, Role, Sampling
from umi_local.packs import DEFAULT_PACK, load_pack
from umi_local.paths import config_dir, snapshots_dir
from umi_local.prompts import ChatRenderer, FlatRenderer, Renderer
from umi_local.protocols import Backend, Emit, Toolbox
from umi_local.pull import ensure_verified, missing
from umi_local.roles import Crew, Single, Team, TurnLimits, Turns
from umi_local.settings import Mode, Settings, load_settings
from umi_local.styles.data import chat_style, flat_style, worked_examples
from umi_local.toolbox import Approval, Effect, LocalToolbox, Tool, ToolContext, Workspace
from umi_local.trajectory import Trajectory

if TYPE_CHECKING:
    from umi_local.backends.llama_cpp.vocabulary import Vocabulary
    from umi_local.training.samples import Writer


@dataclass(frozen=True)
class Setup:
    """What is to be run: the settings after flags, the pack, and files that replace the pack's, by role."""

    settings: Settings
    pack: RolePack | None
    models: Mapping[Role, Path] = field(default_factory=dict)
    adapters: Mapping[Role, Path] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[Role, ...]:
        return roles_of(self.settings.mode)

    @property
    def pack_name(self) -> str:
        return self.pack.name if self.pack else "files"

    def missing(self) -> tuple[PackFile, ...]:
        """The pack's files that a run needs and that are not there yet."""
        return tuple(file for file in self._pack_files() if missing(file))

    def _pack_files(self) -> tuple[PackFile, ...]:
        if self.pack is None:
            return ()
        wanted = [self.pack.model(role) for role in self.roles if role not in self.models]
        wanted += [
            adapter
            for role in self.roles
            if role not in self.models and role not in self.adapters and (adapter := self.pack.adapter(role))
        ]
        return tuple({file.sha256: file for file in wanted}.values())

    def specs(self) -> tuple[dict[Role, ModelSpec], frozenset[str]]:
        """How each role's model is loaded, and which of the files are pinned by a manifest."""
        specs: dict[Role, ModelSpec] = {}
        pinned: set[str] = set()
        for role in self.roles:
            model, adapter = self.models.get(role), self.adapters.get(role)
            if model is None and self.pack is not None:
                model = ensure_verified(self.pack.model(role))
                pinned.add(str(model))
                packed = self.pack.adapter(role)
                if adapter is None and packed is not None:
                    adapter = ensure_verified(packed)
                    pinned.add(str(adapter))
            specs[role] = self._spec(role, model, adapter)
            if self.pack is not None and role not in self.models:
                specs[role] = replace(specs[role], identity=self.pack.model(role).sha256)
        return specs, frozenset(pinned)

    def _spec(self, role: Role, model: Path | None, adapter: Path | None) -> ModelSpec:
        if model is None:
            raise UsageError(f"No model is named for the {role}.", f"Add --model {role}=FILE, or use a pack.")
        context = self.settings.context or (self.pack.context if self.pack else 0)
        threads, layers = self.settings.threads, self.settings.gpu_layers
        return ModelSpec(str(model), str(adapter) if adapter else None, context, threads, layers)


def roles_of(mode: Mode) -> tuple[Role, ...]:
    """Who takes turns in a mode."""
    return (Role.SINGLE,) if mode is Mode.SINGLE else TEAM


def setup(
    settings: Settings,
    pack: str = "",
    models: Mapping[Role, Path] | None = None,
    adapters: Mapping[Role, Path] | None = None,
) -> Setup:
    """What the flags ask for. A model for every role needs no pack."""
    models = models or {}
    needs_pack = bool(pack) or any(role not in models for role in roles_of(settings.mode))
    chosen = load_pack(pack or settings.pack or DEFAULT_PACK) if needs_pack else None
    return Setup(settings, chosen, models, adapters or {})


def user_settings() -> Settings:
    return load_settings(config_dir() / "config.toml")


def llama_backend(wanted: Setup) -> LlamaCppBackend:
    specs, pinned = wanted.specs()
    limit = wanted.settings.snapshot_megabytes * 1_000_000
    return LlamaCppBackend(specs, pinned, Snapshots(snapshots_dir(), limit) if limit else None)


def renderer_for(wanted: Setup, backend: Backend) -> Renderer:
    """The prompts in the pack's style. A user's own file is taken to follow its own chat template."""
    folded = wanted.settings.mode is Mode.SINGLE
    info = backend.describe(wanted.roles[0])
    name = wanted.pack.style if wanted.pack else "chat"
    if name == "alpha-umi":
        return FlatRenderer(flat_style(), info.end_of_turn, folded)
    if name != "chat":
        raise ConfigError(f"The pack {wanted.pack_name} has the unknown style {name!r}.", "Known: chat, alpha-umi.")
    style = chat_style()
    named = wanted.pack.markup if wanted.pack and wanted.roles[0] not in wanted.models else "auto"
    examples = worked_examples() if wanted.pack is None or wanted.pack.examples else None
    return ChatRenderer(style, markup_for(named, info, style.speakers, style.cues), examples, folded)


def agent_for(wanted: Setup, backend: Backend, toolbox: LocalToolbox, emit: Emit) -> Agent:
    """An agent on a backend. Tools whose schemas cannot be constrained are left out, each with a warning."""
    renderer = renderer_for(wanted, backend)
    crew = _crew(wanted.settings, backend, renderer, emit)
    return Agent(
        crew, backend, _expressible(toolbox, renderer, emit), emit, _run_limits(wanted.settings), wanted.roles[0]
    )


def contestant_for(wanted: Setup, backend: Backend, emit: Emit) -> Contestant:
    """An agent to be measured: its crew for single turns, and whole runs from a start with any toolbox."""
    crew = _crew(wanted.settings, backend, renderer_for(wanted, backend), emit)

    def run(start: Trajectory, toolbox: Toolbox) -> Trajectory:
        agent = Agent(crew, backend, toolbox, emit, _run_limits(wanted.settings), wanted.roles[0])
        return agent.run(start.query, start.history, start.context)

    return Contestant(crew, run)


def _crew(settings: Settings, backend: Backend, renderer: Renderer, emit: Emit) -> Crew:
    sampling = Sampling(settings.temperature, seed=settings.seed)
    turns = Turns(backend, renderer, sampling, TurnLimits(calls=settings.max_calls), emit)
    return Single(turns) if settings.mode is Mode.SINGLE else Team(turns)


def _run_limits(settings: Settings) -> RunLimits:
    return RunLimits(settings.max_steps, settings.observation_tokens)


def _expressible(toolbox: LocalToolbox, renderer: Renderer, emit: Emit) -> LocalToolbox:
    kept: list[Tool] = []
    for tool in toolbox.tools:
        reason = inexpressible(tool.spec, renderer.language)
        if reason:
            emit(Warned(f"The tool {tool.name} is left out: its schema cannot be constrained ({reason})."))
        else:
            kept.append(tool)
    return LocalToolbox(kept, toolbox.context, toolbox.approval)


def known_tools() -> tuple[Tool, ...]:
    from umi_local.tools import BUILTIN_TOOLS

    return BUILTIN_TOOLS


def chosen_tools(names: Sequence[str] | None) -> tuple[Tool, ...]:
    """The tools of those names, in the fixed order; without names, all that are on by default.

    Raises:
        UsageError: a name is unknown.
    """
    known = known_tools()
    if names is None:
        return tuple(tool for tool in known if tool.enabled)
    check_tool_names(names)
    return tuple(tool for tool in known if tool.name in names)


def check_tool_names(names: Sequence[str]) -> None:
    """Raises UsageError for the first name that is no tool's."""
    import difflib

    known = [tool.name for tool in known_tools()]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"Did you mean {close[0]}?" if close else f"The tools are: {', '.join(known)}."
            raise UsageError(f"There is no tool {name!r}.", guess)


def toolbox_for(tools: Sequence[Tool], workspace: Path, notes: Path, approval: Approval) -> LocalToolbox:
    """Tools confined to a workspace.

    Raises:
        UsageError: the workspace is no folder.
    """
    if not workspace.is_dir():
        raise UsageError(f"The workspace {workspace} is not a folder.", "Name one with --workspace DIR.")
    return LocalToolbox(tools, ToolContext(Workspace(workspace), notes), approval)


def context_for(toolbox: LocalToolbox) -> str:
    """What the agent is told of the workspace without asking: what lies in it, if any tool may read."""
    reads = any(tool.effect is Effect.READS for tool in toolbox.tools)
    return toolbox.context.workspace.overview() if reads else ""


def broadcast(*listeners: Emit | None) -> Emit:
    """One `emit` for several listeners."""
    present: list[Callable[..., None]] = [listener for listener in listeners if listener is not None]

    def emit(event: object) -> None:
        for listener in present:
            listener(event)

    return emit


def sample_writer(pack: str, vocabulary: Vocabulary, longest: int) -> Writer:
    """What turns records into training samples for a pack's backbone, in the pack's style and markup.

    Raises:
        ConfigError: the pack is not in the chat style, in which adapters are trained.
    """
    from umi_local.training.samples import Writer

    chosen = load_pack(pack)
    if chosen.style != "chat":
        raise ConfigError(f"The pack {pack} has the style {chosen.style}.", "Train a pack in the chat style.")
    style = chat_style()
    markup = markup_for(chosen.markup, vocabulary.info, style.speakers, style.cues)
    examples = worked_examples() if chosen.examples else None
    team, single = (ChatRenderer(style, markup, examples, folded) for folded in (False, True))
    return Writer(team, single, vocabulary, longest)
