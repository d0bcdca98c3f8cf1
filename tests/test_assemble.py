"""Where parts meet: each role's prompts in its own model's markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from umi_local.assemble import renderer_for
from umi_local.backends.scripted import ScriptedBackend
from umi_local.backends.server import Server
from umi_local.messages import ModelInfo, Role
from umi_local.settings import Mode, Settings
from umi_local.setups import setup
from umi_local.trajectory import Trajectory

TEMPLATES = {Role.PLANNER: "<|im_start|>", Role.CALLER: "<|start_header_id|>", Role.SUMMARIZER: "<|im_start|>"}


class Families(ScriptedBackend):
    """Models of different families, told by their chat templates."""

    def describe(self, role: Role) -> ModelInfo:
        return ModelInfo(role.value, 8192, TEMPLATES[role])


def test_roles_with_models_of_different_families_are_each_prompted_in_their_own_markup(tmp_path: Path) -> None:
    models = {role: tmp_path / f"{role}.gguf" for role in TEMPLATES}
    renderer = renderer_for(setup(Settings(), models=models), Families([]))
    for role, template in TEMPLATES.items():
        text = renderer.render(Trajectory("Hello"), role).text
        assert template in text
        assert not any(other in text for other in set(TEMPLATES.values()) - {template})


def test_a_role_on_a_server_gets_messages_and_the_others_text(tmp_path: Path) -> None:
    models = {role: tmp_path / f"{role}.gguf" for role in (Role.PLANNER, Role.SUMMARIZER)}
    servers = {Role.CALLER: Server("http://127.0.0.1:1/v1")}
    renderer = renderer_for(setup(Settings(), models=models, servers=servers), Families([]))
    assert renderer.render(Trajectory("Hello"), Role.CALLER).messages
    assert not renderer.render(Trajectory("Hello"), Role.PLANNER).messages


def test_a_beginning_that_every_conversation_has_is_marked_as_constant(tmp_path: Path) -> None:
    renderer = renderer_for(setup(Settings()), Families([]))
    one, other = (renderer.render(Trajectory(query), Role.PLANNER) for query in ("Hello", "Something else"))
    assert one.constant == other.constant > 2
    assert one.trunk[: one.constant] == other.trunk[: other.constant]
    assert one.trunk[one.constant :] != other.trunk[other.constant :]


def test_a_role_that_was_trained_without_worked_runs_is_shown_none_and_keeps_their_forms() -> None:
    servers = {Role.CALLER: Server("http://127.0.0.1:1/v1")}
    shown = setup(Settings(), "qwen2.5-coder-1.5b", servers=servers)
    assert shown.pack
    trained = replace(shown, pack=shown.pack.model_copy(update={"examples": frozenset({Role.SINGLE})}))
    before, after = (renderer_for(wanted, Families([])) for wanted in (shown, trained))
    run = Trajectory("Hello")
    assert "Good morning!" in before.render(run, Role.PLANNER).text
    assert "Good morning!" not in after.render(run, Role.PLANNER).text
    assert "Good morning!" in str(after.render(run, Role.CALLER).messages)  # another model, which was not trained
    assert after.language == before.language


def test_one_model_for_all_on_a_server_is_told_to_add_the_call_or_the_answer() -> None:
    servers = {Role.SINGLE: Server("http://127.0.0.1:1/v1")}
    renderer = renderer_for(setup(Settings(mode=Mode.SINGLE), servers=servers), Families([]))
    said = str(renderer.render(Trajectory("Hello"), Role.SINGLE).messages)
    assert "and the tool call" in said
    assert "Planner:" not in said
