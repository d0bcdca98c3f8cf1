"""Several backends as one: each role's turns go to its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from umi_local.messages import Completion, Constraint, ModelInfo, Prompt, Role, Sampling
from umi_local.protocols import Backend


@dataclass(frozen=True)
class RoutedBackend:
    """A backend per role; several roles may share one."""

    by_role: Mapping[Role, Backend]

    def describe(self, role: Role) -> ModelInfo:
        return self.by_role[role].describe(role)

    def count(self, role: Role, text: str) -> int:
        return self.by_role[role].count(role, text)

    def complete(
        self,
        role: Role,
        prompt: Prompt,
        constraint: Constraint | None,
        sampling: Sampling,
        on_token: Callable[[str], None] = lambda _: None,
    ) -> Completion:
        return self.by_role[role].complete(role, prompt, constraint, sampling, on_token)

    def cancel(self) -> None:
        for backend in self._each():
            backend.cancel()

    def close(self) -> None:
        for backend in self._each():
            backend.close()

    def _each(self) -> list[Backend]:
        return list({id(backend): backend for backend in self.by_role.values()}.values())
