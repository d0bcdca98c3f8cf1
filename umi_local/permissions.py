"""Which rules hold for a run: the user's own, those given for always, the project's and those of the command line."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from umi_local import atomic
from umi_local.errors import ConfigError, UsageError
from umi_local.mcp.tools import prefix_of
from umi_local.paths import audit_file, cannot_write, config_dir, journals_dir
from umi_local.settings import Permissions, Settings
from umi_local.toolbox import PROJECT_FILE, Approval, ApprovalRequest, AuditLog, Journal, Rule, Ruling, policy_of

_ALWAYS = "always.txt"


def approval_for(
    settings: Settings,
    workspace: Path,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    ask: Callable[[ApprovalRequest], bool] | None = None,
    session: str = "",
) -> Approval:
    """All rules that hold for a run in this workspace, who is asked, and where decisions are kept.

    Raises:
        UsageError: a rule of the command line has another form than rules have.
        ConfigError: a rule of a file has.
    """
    try:
        flags = policy_of(allow, deny)
    except ValueError as error:
        raise UsageError(f"{error}.", "See umi-local tools list for the tools.") from None
    policy = flags.with_rules(_own(settings)).with_rules(kept_rules()).with_rules(_project(workspace))
    return Approval(policy, ask, AuditLog(audit_file(), session))


def journal_of(session: str) -> Journal | None:
    """What keeps the files of a session as they were."""
    return Journal(journals_dir() / session) if session else None


def last_changed() -> str:
    """The session that made the latest change that can be taken back; empty where there is none."""
    changes = sorted(journals_dir().glob("*/*.json"), key=lambda change: change.name)
    return changes[-1].parent.name if changes else ""


def forget(session: str) -> None:
    """Remove what was kept of the files of a session."""
    shutil.rmtree(journals_dir() / session, ignore_errors=True)


def always_file() -> Path:
    """Where the calls stand that a person allowed for good; a removed line is a permission taken back."""
    return config_dir() / _ALWAYS


def remember(rule: Rule) -> None:
    """Let a rule hold from now on, in every session.

    Raises:
        UsageError: its text would be read as another rule, or as more than one.
        StorageError: it cannot be written down.
    """
    if not rule.is_writable:
        raise UsageError(
            f"The rule for {rule.tool} cannot be written down.", "Allow the call once, or for the session."
        )
    path = always_file()
    try:
        with path.open("a+b") as file:
            file.seek(max(0, file.tell() - 1))
            whole = file.read(1) in (b"", b"\n")  # a person may have edited the file
            file.write(f"{'' if whole else chr(10)}{rule}\n".encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def take_back(rule: str) -> None:
    """Let a call that was allowed for good ask again; `rule` is one of `kept_rules` as text.

    Raises:
        UsageError: none of the rules is written like this.
        StorageError: it cannot be written down.
    """
    kept = kept_rules()
    left = [kept_rule for kept_rule in kept if str(kept_rule) != rule]
    if len(left) == len(kept):
        raise UsageError(f"{rule} is not allowed for good.", "See umi-local tools allowed.")
    path = always_file()
    try:
        atomic.write(path.resolve(), "".join(f"{kept_rule}\n" for kept_rule in left).encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def take_back_of(server: str) -> None:
    """Forget what was allowed for good of an MCP server's tools: another server may come to have its name.

    Raises:
        StorageError: it cannot be written down.
    """
    for rule in kept_rules():
        if rule.tool.startswith(prefix_of(server)):
            take_back(str(rule))


def _own(settings: Settings) -> tuple[Rule, ...]:
    return _rules(settings.permissions, str(config_dir() / "config.toml"))


def kept_rules() -> tuple[Rule, ...]:
    """One rule a line, as `remember` writes them; a person may remove lines."""
    path = always_file()
    if not path.is_file():
        return ()
    lines = [line for line in _lines_of(path) if line.strip()]
    return _rules(Permissions(allow=tuple(lines)), str(path))


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Correct the file or move it away.") from None


def _project(workspace: Path) -> tuple[Rule, ...]:
    """What the workspace's own file asks for or denies. It comes with the project, so it cannot allow anything."""
    path = workspace / PROJECT_FILE
    if not path.is_file():
        return ()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8")).get("permissions", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Correct the file or move it away.") from None
    if not isinstance(told, dict) or set(told) - {"ask", "deny"}:
        raise ConfigError(
            f"{path} may hold ask and deny under [permissions] and nothing else.",
            f"What is to be allowed belongs into {config_dir() / 'config.toml'}.",
        )
    try:
        permissions = Permissions.model_validate(told)
    except ValidationError:
        raise ConfigError(f"{path}: ask and deny must be lists of rules.", "Correct the file.") from None
    return _rules(permissions, str(path))


def _rules(permissions: Permissions, origin: str) -> tuple[Rule, ...]:
    try:
        return policy_of(permissions.allow, permissions.deny, permissions.ask, origin).rules
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}.", "Correct the rule or take it out.") from None


def tools_named(rules: Iterable[str]) -> list[str]:
    """The tools that rules of the command line are about, patterns left out; for checking their spelling.

    Raises:
        UsageError: a rule has another form than rules have.
    """
    try:
        names = [Rule.parse(text, Ruling.ASK, "").tool for text in rules]
    except ValueError as error:
        raise UsageError(f"{error}.", "See umi-local tools list for the tools.") from None
    return [name for name in names if not set(name) & set("*?")]
