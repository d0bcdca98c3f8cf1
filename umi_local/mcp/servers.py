"""The file of MCP servers: `mcp.json` in the configuration folder, in the form that other clients use.

    {"mcpServers": {"time": {"command": "python", "args": ["-m", "mcp_server_time"]},
                    "hub":  {"url": "https://example.org/mcp", "headers": {"Authorization": "${keyring:hub/me}"}}}}

A server gets no variable of ours but PATH and the like; others are listed in `env`. Any value, argument or address may
hold `${env:NAME}` or `${keyring:SERVICE/USER}`, and what sounds like a secret must.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from umi_local import atomic
from umi_local.errors import ConfigError, UsageError
from umi_local.paths import cannot_write

_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
_REFERENCE = re.compile(r"\$\{(env|keyring):([^}]+)\}")
_ANY_REFERENCE = re.compile(r"\$\{[^}]+\}")  # some programs follow such a thing in their arguments by themselves
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # of a name in any way of joining words
_SECRET = re.compile(
    r"\w*(?:keys?|token|secrets?|passw\w*|passphrase|credentials?|cookies?)|pat|bearer|o?auth|auth(?:oriz|entic)ation"
)
_SECRET_OPTION = re.compile(
    r"-+(?:\w+[-_])*(?:(?:api|access|secret)[-_]?key|token|secret|passw\w*|pat|credentials?)", re.IGNORECASE
)
_SECRET_HEADER = re.compile(r"\bAuthorization\s*[:=](.*)|\bBearer\s(.*)", re.IGNORECASE | re.DOTALL)
_PASSWORD = re.compile(r"://[^/\s:@]*:(?!\$\{)[^/\s@]+@")  # in an address
_INSTEAD = "write ${env:NAME} or ${keyring:SERVICE/USER}"


class Server(BaseModel):
    """How one server is reached: a command that speaks on its standard streams, or an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=60, gt=0, le=3600)
    disabled: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Server:
        if bool(self.command) == bool(self.url):
            raise ValueError("it needs a command or a url, and not both")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("its url must begin with http:// or https://")
        return self

    @field_validator("env", "headers")
    @classmethod
    def _no_secrets(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if (_sounds_secret(name) and not _is_reference(value)) or _PASSWORD.search(value):
                raise ValueError(f"{name} looks like a secret; {_INSTEAD}")
        return values

    @field_validator("args")
    @classmethod
    def _no_secret_arguments(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        for option, value in pairwise((*args, "-")):
            name, equals, given = option.partition("=")
            given = given if equals else "" if value.startswith("-") else value
            secret = _SECRET_OPTION.fullmatch(name) and given and not _is_reference(given)
            if secret or _PASSWORD.search(option):
                raise ValueError(f"{name} looks like a secret; {_INSTEAD}")
            header = _SECRET_HEADER.search(option)
            told = header and (header[1] or header[2] or "").strip()
            if told and not _is_reference(told, _ANY_REFERENCE):
                raise ValueError(f"a header in its arguments looks like a secret; {_INSTEAD}")
        return args

    @field_validator("url")
    @classmethod
    def _no_secret_in_address(cls, url: str) -> str:
        for name, value in parse_qsl(urlsplit(url).query):
            if _sounds_secret(name) and not _is_reference(value):
                raise ValueError(f"{name} in the address looks like a secret; {_INSTEAD}")
        if _PASSWORD.search(url):
            raise ValueError(f"the address holds a password; {_INSTEAD}")
        return url

    @property
    def where(self) -> str:
        """The command line or the address, for a person."""
        return self.url or " ".join([self.command, *self.args])


@dataclass(frozen=True, slots=True)
class ServerFile:
    """All servers by name, in one file."""

    path: Path

    def read(self) -> dict[str, Server]:
        """The servers; none where there is no file.

        Raises:
            ConfigError: the file cannot be read or a server in it is not described as it must be.
        """
        try:
            told = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}.", "Correct the file or move it away.") from None
        listed = told.get("mcpServers") if isinstance(told, dict) else None
        if not isinstance(listed, dict):
            raise ConfigError(f"{self.path} has no object mcpServers.", "Correct the file or move it away.")
        return {name: _server(name, value, f"{self.path}: ") for name, value in listed.items()}

    def add(self, name: str, told: Mapping[str, Any]) -> Server:
        """Describe one more server.

        Raises:
            UsageError: the name is taken or is no name, or the description does not fit.
        """
        servers = self.read()
        if name in servers:
            raise UsageError(f"There is a server {name} already.", f"Remove it first: umi-local tools rm {name}")
        try:
            server = _server(name, dict(told), "")
        except ConfigError as error:
            raise UsageError(error.problem, error.remedy) from None
        self._write({**servers, name: server})
        return server

    def remove(self, name: str) -> None:
        """Raises UsageError if there is no such server."""
        servers = self.read()
        if name not in servers:
            known = ", ".join(servers) or "none"
            raise UsageError(f"There is no MCP server {name!r}.", f"The servers are: {known}.")
        self._write({other: server for other, server in servers.items() if other != name})

    def _write(self, servers: Mapping[str, Server]) -> None:
        listed = {name: server.model_dump(mode="json", exclude_defaults=True) for name, server in servers.items()}
        try:
            if not listed:
                self.path.unlink(missing_ok=True)
                return
            text = json.dumps({"mcpServers": listed}, indent=2) + "\n"
            atomic.write(self.path.resolve(), text.encode(), mode=0o600)
        except OSError as error:
            raise cannot_write(self.path, error) from error


def followed(text: str) -> str:
    """A text with its references followed. Raises what `resolved` does."""
    return _REFERENCE.sub(_looked_up, text)


def _sounds_secret(name: str) -> bool:
    return any(_SECRET.fullmatch(word.lower()) for word in _WORD.findall(name))


def _is_reference(value: str, reference: re.Pattern[str] = _REFERENCE) -> bool:
    """Whether nothing but references, and the scheme of a header, makes up a value."""
    rest = reference.sub("", value)
    return rest != value and rest.strip().lower() in ("", "bearer", "basic", "token")


def resolved(values: Mapping[str, str]) -> dict[str, str]:
    """The values with their references followed.

    Raises:
        ConfigError: a variable is not set or the keyring has no such entry.
    """
    return {name: followed(value) for name, value in values.items()}


def _looked_up(reference: re.Match[str]) -> str:
    kind, name = reference.groups()
    if kind == "env":
        if name not in os.environ:
            raise ConfigError(
                f"An MCP server needs the variable {name}, which is not set.", f"Set {name} and run again."
            )
        return os.environ[name]
    service, _, user = name.partition("/")
    try:
        import keyring
    except ImportError:
        raise ConfigError("The keyring cannot be read without the package keyring.", "pip install keyring") from None
    found = keyring.get_password(service, user)
    if found is None:
        raise ConfigError(f"The keyring has no entry {name}.", f"Store it: keyring set {service} {user}")
    return str(found)


def _server(name: str, value: Any, origin: str) -> Server:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{origin}{name!r} is no name for a server.", "Use up to 24 of a-z, 0-9 and hyphens.")
    if not isinstance(value, dict):
        raise ConfigError(f"{origin}the server {name} is no object.", 'One is: {"command": "npx", "args": ["NAME"]}.')
    try:
        return Server.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        told = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ConfigError(f"{origin}the server {name}{f', {where}' if where else ''}: {told}.") from None
