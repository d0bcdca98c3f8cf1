"""Where the parts meet: settings, a pack and tools become an agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from umi_local.agent import Agent, RunLimits
from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.openai_compatible import ServerBackend
from umi_local.backends.routed import RoutedBackend
from umi_local.constraints import inexpressible
from umi_local.errors import ConfigError, UsageError
from umi_local.evaluation.suite import Contestant
from umi_local.events import Warned
from umi_local.markup import MessagesMarkup, markup_for
from umi_local.messages import Role, Sampling
from umi_local.packs import load_pack
from umi_local.paths import config_dir, data_dir, notes_file, snapshots_dir, threads_file
from umi_local.permissions import journal_of
from umi_local.prompts import ChatRenderer, FlatRenderer, Renderer, RoutedRenderer
from umi_local.protocols import Backend, Emit, Toolbox
from umi_local.roles import Crew, Single, Team, TurnLimits, Turns
from umi_local.settings import Mode, Settings
from umi_local.setups import Setup
from umi_local.styles.data import Examples, chat_style, flat_style, worked_examples
from umi_local.toolbox import Approval, Effect, LocalToolbox, Rule, Ruling, Tool, ToolContext, Workspace
from umi_local.trajectory import Trajectory

if TYPE_CHECKING:
    from umi_local.backends.llama_cpp.vocabulary import Vocabulary
    from umi_local.extensions import Extensions
    from umi_local.training.samples import Writer


MOST_LISTED = 20  # tools in the constant part of the prompt; of more, those that were added are ranked for each query


def backend_for(wanted: Setup) -> Backend:
    """llama.cpp in a child process for the roles with files, and a connection for each server."""
    by_role: dict[Role, Backend] = {}
    if wanted.local_roles:
        by_role |= dict.fromkeys(wanted.local_roles, llama_backend(wanted))
    connections = {server: ServerBackend(server) for server in {wanted.servers[role] for role in wanted.served_roles}}
    by_role |= {role: connections[wanted.servers[role]] for role in wanted.served_roles}
    return RoutedBackend(by_role) if connections else by_role[wanted.roles[0]]


def llama_backend(wanted: Setup) -> LlamaCppBackend:
    specs, pinned = wanted.specs()
    limit = wanted.settings.snapshot_megabytes * 1_000_000
    snapshots = Snapshots(snapshots_dir(), limit) if limit else None
    memory = wanted.settings.memory_megabytes * 1_000_000
    return LlamaCppBackend(specs, pinned, snapshots, tuning=threads_file(), memory=memory)


def tell_of_servers(wanted: Setup, emit: Emit) -> None:
    """Say which roles' prompts leave this process, and to where."""
    for server in sorted({wanted.servers[role] for role in wanted.served_roles}, key=lambda server: server.url):
        roles = [role.value for role in wanted.served_roles if wanted.servers[role] == server]
        where = "this process" if server.is_this_machine else "this computer"
        emit(Warned(f"What the {' and the '.join(roles)} read leaves {where} for {server.host}."))


def renderer_for(wanted: Setup, backend: Backend) -> Renderer:
    """The prompts in the pack's style. A user's own file is taken to follow its own chat template."""
    folded = wanted.settings.mode is Mode.SINGLE
    name = wanted.pack.style if wanted.pack else "chat"
    if name == "alpha-umi" and not wanted.served_roles:
        return FlatRenderer(flat_style(), backend.describe(wanted.roles[0]).end_of_turn, folded)
    if name != "chat":
        known = "Known: chat, and without servers alpha-umi."
        raise ConfigError(f"The pack {wanted.pack_name} has the style {name!r}.", known)
    style = chat_style()
    cues = {**style.cues, "planner": style.cues["single"]} if folded else style.cues
    by_role: dict[Role, Renderer] = {}
    for role in wanted.served_roles:
        by_role[role] = ChatRenderer(style, MessagesMarkup(cues), worked_examples(), folded)
    for role in wanted.local_roles:
        named = wanted.pack.markup if wanted.pack and wanted.packed(role) else "auto"
        markup = markup_for(named, backend.describe(role), style.speakers, cues)
        by_role[role] = ChatRenderer(style, markup, _examples(wanted, role), folded)
    first = by_role[wanted.roles[0]]
    return first if all(renderer == first for renderer in by_role.values()) else RoutedRenderer(by_role)


def _examples(wanted: Setup, role: Role) -> Examples:
    """What a role's model is shown: worked runs, unless it is the pack's and was trained without."""
    trained = wanted.pack and wanted.packed(role) and role not in wanted.pack.examples
    return worked_examples().forms if trained else worked_examples()


def agent_for(wanted: Setup, backend: Backend, toolbox: LocalToolbox, emit: Emit) -> Agent:
    """An agent on a backend. Tools whose schemas cannot be constrained are left out, each with a warning."""
    renderer = renderer_for(wanted, backend)
    crew = _crew(wanted.settings, backend, renderer, emit)
    for problem in extensions().problems:
        emit(Warned(problem))
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
    def kept(tools: Sequence[Tool]) -> list[Tool]:
        found: list[Tool] = []
        for tool in tools:
            reason = inexpressible(tool.spec, renderer.language)
            if reason:
                emit(Warned(f"The tool {tool.name} is left out: its schema cannot be constrained ({reason})."))
            else:
                found.append(tool)
        return found

    return replace(toolbox, tools=kept(toolbox.tools), hidden=kept(toolbox.hidden))


def known_tools() -> tuple[Tool, ...]:
    """All tools: those that come along, in their fixed order, then those that were added."""
    from umi_local.tools import BUILTIN_TOOLS

    return (*BUILTIN_TOOLS, *extensions().tools)


@cache
def extensions() -> Extensions:
    """The tools that were added to this installation, loaded once."""
    from umi_local.extensions import Extensions
    from umi_local.tools import BUILTIN_TOOLS

    return Extensions(tool.name for tool in BUILTIN_TOOLS)


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


def toolbox_for(
    tools: Sequence[Tool], workspace: Path, approval: Approval, session: str = "", notes: Path | None = None
) -> LocalToolbox:
    """Tools confined to a workspace; what files held before they are changed is kept for the session.

    `notes` is another place for notes than the user's.

    Raises:
        UsageError: the workspace is no folder.
    """
    if not workspace.is_dir():
        raise UsageError(f"The workspace {workspace} is not a folder.", "Name one with --workspace DIR.")
    own = (config_dir(), data_dir())
    context = ToolContext(Workspace(workspace), notes or notes_file(), journal=journal_of(session), closed=own)
    if len(tools) <= MOST_LISTED:
        return LocalToolbox(tools, context, approval)
    hidden = [tool for tool in tools if tool in extensions().tools]
    return LocalToolbox([tool for tool in tools if tool not in hidden], context, approval, hidden)


def context_for(toolbox: LocalToolbox) -> str:
    """What the agent is told of the workspace without asking: what lies in it, if any tool may read.

    Of a file that a rule denies to one of them not even the name is told; where one has to ask, no columns are.
    umi-local's own folders are nobody's work and stay unspoken of.
    """
    root = toolbox.context.workspace.root.resolve()
    own = {folder.resolve() for folder in toolbox.context.closed}
    policy = toolbox.approval.policy
    denied = [rule for rule in policy.rules if rule.ruling is Ruling.DENY]
    asking = [rule for rule in policy.rules if rule.ruling is Ruling.ASK]
    reading = [tool.name for tool in toolbox.tools if tool.effect is Effect.READS]
    reading = [name for name in reading if not any(rule.fits(name, {}) for rule in denied)]

    def free_of(rules: Sequence[Rule], path: str) -> bool:
        return root / path not in own and not any(rule.fits(name, {"path": path}) for rule in rules for name in reading)

    overview = toolbox.context.workspace.overview
    return overview(partial(free_of, denied), partial(free_of, asking)) if reading else ""


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
    chosen = load_pack(pack)
    if chosen.style != "chat":
        raise ConfigError(f"The pack {pack} has the style {chosen.style}.", "Train a pack in the chat style.")
    team, single = (
        worked_examples() if role in chosen.examples else worked_examples().forms
        for role in (Role.PLANNER, Role.SINGLE)
    )
    return writer_of(chosen.markup, vocabulary, longest, team, single)


def writer_of(
    markup: str,
    vocabulary: Vocabulary,
    longest: int,
    team: Examples | None = None,
    single: Examples | None = None,
) -> Writer:
    """The same for a model without a pack: in the chat style, with a markup by its name. `team` and `single` are what
    the roles and the single model are shown.
    """
    from umi_local.training.samples import Writer

    style = chat_style()
    marked = markup_for(markup, vocabulary.info, style.speakers, style.cues)
    roles, whole = ChatRenderer(style, marked, team), ChatRenderer(style, marked, single, folded=True)
    return Writer(roles, whole, vocabulary, longest)
