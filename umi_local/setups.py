"""What is to be run: the settings after flags, and which model plays each role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from umi_local.backends.llama_cpp.spec import ModelSpec
from umi_local.backends.server import Server
from umi_local.errors import UsageError
from umi_local.manifest import PackFile, RolePack
from umi_local.messages import TEAM, Role
from umi_local.packs import DEFAULT_PACK, load_pack
from umi_local.paths import config_dir
from umi_local.pull import ensure_verified, missing
from umi_local.settings import Mode, Settings, load_settings


@dataclass(frozen=True)
class Setup:
    """What is to be run: the settings after flags, the pack, and what replaces the pack's files, by role."""

    settings: Settings
    pack: RolePack | None
    models: Mapping[Role, Path] = field(default_factory=dict)
    adapters: Mapping[Role, Path] = field(default_factory=dict)
    servers: Mapping[Role, Server] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[Role, ...]:
        return roles_of(self.settings.mode)

    @property
    def local_roles(self) -> tuple[Role, ...]:
        """The roles that llama.cpp plays in this machine's memory."""
        return tuple(role for role in self.roles if role not in self.servers)

    @property
    def served_roles(self) -> tuple[Role, ...]:
        """The roles that a server plays."""
        return tuple(role for role in self.roles if role in self.servers)

    @property
    def pack_name(self) -> str:
        if self.pack:
            return self.pack.name
        return "files" if self.local_roles else "servers"

    def packed(self, role: Role) -> bool:
        """Whether the role's model is the pack's."""
        return self.pack is not None and role not in self.models and role not in self.servers

    def missing(self) -> tuple[PackFile, ...]:
        """The pack's files that a run needs and that are not there yet."""
        return tuple(file for file in self._pack_files() if missing(file))

    def _pack_files(self) -> tuple[PackFile, ...]:
        if self.pack is None:
            return ()
        packed = [role for role in self.roles if self.packed(role)]
        wanted = [self.pack.model(role) for role in packed]
        wanted += [
            adapter for role in packed if role not in self.adapters and (adapter := self.pack.adapter(role)) is not None
        ]
        return tuple({file.sha256: file for file in wanted}.values())

    def specs(self) -> tuple[dict[Role, ModelSpec], frozenset[str]]:
        """How each role's model is loaded, and which of the files are pinned by a manifest."""
        specs: dict[Role, ModelSpec] = {}
        pinned: set[str] = set()
        for role in self.local_roles:
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
        layers = None if self.settings.gpu_layers == "auto" else self.settings.gpu_layers
        return ModelSpec(
            str(model),
            str(adapter) if adapter else None,
            context_tokens=context,
            threads=self.settings.threads,
            gpu_layers=layers,
        )


def roles_of(mode: Mode) -> tuple[Role, ...]:
    """Who takes turns in a mode."""
    return (Role.SINGLE,) if mode is Mode.SINGLE else TEAM


def setup(
    settings: Settings,
    pack: str = "",
    models: Mapping[Role, Path] | None = None,
    adapters: Mapping[Role, Path] | None = None,
    servers: Mapping[Role, Server] | None = None,
) -> Setup:
    """What the flags ask for. A model for every role needs no pack."""
    models, servers = models or {}, servers or {}
    needs_pack = bool(pack) or any(role not in {**models, **servers} for role in roles_of(settings.mode))
    chosen = load_pack(pack or default_pack(settings)) if needs_pack else None
    return Setup(settings, chosen, models, adapters or {}, servers)


def user_settings() -> Settings:
    return load_settings(config_dir() / "config.toml")


def default_pack(settings: Settings) -> str:
    """The pack of whoever names none."""
    return settings.pack or DEFAULT_PACK
