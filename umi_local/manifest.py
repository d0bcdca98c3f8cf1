"""What a pack manifest may say, as validated values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Strict,
    model_validator,
)

from umi_local.errors import ConfigError
from umi_local.messages import Role
from umi_local.paths import is_file


def _form(pattern: str, words: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


def _relative(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text:
        raise ValueError("must be a relative path with forward slashes")
    return text


# Names reach pip's command line, a URL and the file system: none may begin with a dash or a dot, or hold a slash.
_Plain = Annotated[str, _form(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", "letters, digits, dots and dashes")]
_Version = Annotated[str, _form(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,63}", "one exact version")]
_Repo = Annotated[str, _form(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", "a repository as OWNER/NAME")]
_Sha256 = Annotated[str, _form(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits, as sha256sum prints them")]
_RelativePath = Annotated[str, AfterValidator(_relative)]
_Bytes = Annotated[int, Field(gt=0)]
_Named = Annotated[Role, Field(strict=False)]  # a TOML file has texts alone


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HuggingFaceSource(_Manifest):
    """A file of a Hugging Face repository at a revision."""

    type: Literal["huggingface"]
    repo: _Repo
    revision: _Plain
    path: _RelativePath


class Wheel(_Manifest):
    """A data file inside a wheel; `bytes` is its uncompressed size."""

    name: _Plain
    version: _Version
    member: _RelativePath
    bytes: _Bytes


class PyPISource(_Manifest):
    """Wheels whose data files, joined in order, are the file."""

    type: Literal["pypi"]
    wheels: Annotated[tuple[Wheel, ...], Strict(False), Field(min_length=1)]


class ShippedSource(_Manifest):
    """A file beside the manifest, used where it lies."""

    type: Literal["shipped"]
    path: _RelativePath


class LocalSource(_Manifest):
    """A file of this machine, used where it lies."""

    type: Literal["local"]
    path: Annotated[str, _form(r"(/|[A-Za-z]:[\\/]).*", "an absolute path")]


Source = Annotated[HuggingFaceSource | PyPISource | ShippedSource | LocalSource, Discriminator("type")]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest was found and how the user names it."""

    reference: str = ""
    folder: Path = Path()


class PackFile(_Manifest):
    """A file of a pack: its size in bytes and its sha256 pin it, whichever source it comes from."""

    filename: _Plain
    bytes: _Bytes
    sha256: _Sha256
    licence: str
    kind: Literal["model", "adapter"]
    sources: Annotated[tuple[Source, ...], Strict(False), Field(min_length=1)]
    _origin: Origin = PrivateAttr(default=Origin())

    def model_post_init(self, context: Any) -> None:
        if isinstance(context, Origin):
            self._origin = context

    @model_validator(mode="after")
    def _wheels_add_up(self) -> PackFile:
        for source in self.sources:
            if isinstance(source, PyPISource) and sum(w.bytes for w in source.wheels) != self.bytes:
                raise ValueError(f"its wheels must have {self.bytes:,} bytes together, as the file does")
        return self

    @property
    def pack(self) -> str:
        """The pack as the user names it on the command line; empty for a file made outside a manifest."""
        return self._origin.reference

    @property
    def shipped(self) -> Path | None:
        """Where it lies if it came with its manifest, or is a file of this machine."""
        here = (ShippedSource, LocalSource)
        paths = [self._origin.folder / source.path for source in self.sources if isinstance(source, here)]
        return next((path for path in paths if is_file(path)), None)

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine that no manifest brought."""
        return any(isinstance(source, LocalSource) for source in self.sources)


class RoleFiles(_Manifest):
    """A role's model and, where it has one, its adapter, as ids of the pack's `files`."""

    model: str
    adapter: str | None = None


class Roles(_Manifest):
    planner: RoleFiles
    caller: RoleFiles
    summarizer: RoleFiles
    single: RoleFiles | None = None


class RolePack(_Manifest):
    """A validated manifest. `context` is in tokens; `style` and `markup` name what the prompts look like.

    `examples`: the roles whose models are shown worked runs: they were not trained for them, or were trained with such.
    """

    name: _Plain
    description: str
    licence: str
    style: _Plain
    markup: _Plain = "auto"
    examples: Annotated[frozenset[_Named], Field(strict=False)] = frozenset(Role)
    context: Annotated[int, Field(ge=256, le=1_048_576)]
    roles: Roles
    files: Annotated[dict[str, PackFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _roles_name_files(self) -> RolePack:
        for role, entry in self.roles:
            for kind, name in entry or ():
                if name is None:
                    continue
                if name not in self.files:
                    raise ValueError(f"roles.{role}.{kind} names the file {name!r}, which is not under [files]")
                if self.files[name].kind != kind:
                    raise ValueError(f"roles.{role}.{kind} names {name!r}, whose kind is {self.files[name].kind}")
        return self

    def model(self, role: Role) -> PackFile:
        """The model file of `role`.

        Raises:
            ConfigError: the pack does not play that role.
        """
        return self.files[self._files_of(role).model]

    def adapter(self, role: Role) -> PackFile | None:
        """The adapter file of `role`, if it has one. Raises what `model` does."""
        name = self._files_of(role).adapter
        return self.files[name] if name is not None else None

    def _files_of(self, role: Role) -> RoleFiles:
        entry: RoleFiles | None = getattr(self.roles, role)
        if entry is None:
            raise ConfigError(f"The pack {self.name} has no role {role}.", f"Add [roles.{role}] to its manifest.")
        return entry


def known_keys() -> tuple[str, ...]:
    """Every key that a manifest may have, wherever it stands."""
    parts = (RolePack, Roles, RoleFiles, PackFile, HuggingFaceSource, PyPISource, Wheel, ShippedSource, LocalSource)
    return tuple(key for part in parts for key in part.model_fields)
