"""How the chat looks, and which keys it answers to: what the settings say of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from textual.app import App
from textual.binding import Binding, BindingType
from textual.theme import Theme

from umi_local.errors import ConfigError
from umi_local.settings import Chat

# The names a person chooses from, and Textual's for them.
THEMES: Mapping[str, str] = {
    "dark": "textual-dark",
    "light": "textual-light",
    "high-contrast": "high-contrast",
    "16-colours": "ansi-dark",
}
_HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#00ffff",
    secondary="#ffff00",
    accent="#ffff00",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#303030",
    boost="#202020",
    dark=True,
    variables={"text-muted": "#ffffff", "footer-key-foreground": "#ffff00", "border": "#ffffff"},
)


def dress(app: App[None], chosen: Chat, screens: Sequence[Iterable[BindingType]]) -> None:
    """Give the app its theme, its motion and its keys; `screens` are the bindings of each that may get other ones.

    Raises:
        ConfigError: what `check` says.
    """
    check(chosen, screens)
    app.register_theme(_HIGH_CONTRAST)
    app.set_keymap(dict(chosen.keys))
    app.theme = theme_named(chosen.theme)
    if chosen.reduced_motion:
        app.animation_level = "none"


def check(chosen: Chat, screens: Sequence[Iterable[BindingType]]) -> None:
    """
    Raises:
        ConfigError: there is no such theme, or no action of that name, or two actions of a screen get one key.
    """
    theme_named(chosen.theme)
    known = sorted(binding.id for binding in chain(*screens) if isinstance(binding, Binding) and binding.id)
    for action in chosen.keys:
        if action not in known:
            raise ConfigError(f"The chat has no action {action!r} to give a key to.", f"It has: {', '.join(known)}.")
    for bindings in screens:
        _told_apart(bound(bindings, chosen.keys))


def theme_named(name: str) -> str:
    """Textual's name of a theme.

    Raises:
        ConfigError: there is none.
    """
    if name not in THEMES:
        raise ConfigError(f"There is no theme {name[:40]!r}.", f"There are: {', '.join(THEMES)}.")
    return THEMES[name]


def bound(bindings: Iterable[BindingType], keys: Mapping[str, str]) -> list[Binding]:
    """Bindings with the keys that they have got, one key each, by the names that key events have."""
    mine = (
        binding.with_key(keys.get(binding.id or "") or binding.key) if isinstance(binding, Binding) else binding
        for binding in bindings
    )
    return list(Binding.make_bindings(mine))


def _told_apart(bindings: Iterable[Binding]) -> None:
    """Textual would take a key away from an action without a word."""
    owners: dict[str, Binding] = {}
    for binding in bindings:
        other = owners.setdefault(binding.key, binding)
        if other.action != binding.action:
            both = " and ".join(each.id or each.action for each in (other, binding))
            raise ConfigError(
                f"The key {binding.key!r} of the chat stands for {both}.", "Give one of them another in [chat.keys]."
            )


def keys_of(bindings: Iterable[BindingType], keys: Mapping[str, str]) -> list[str]:
    """Keys that can be changed as lines for a person, with those that were."""
    named = [binding for binding in bindings if isinstance(binding, Binding) and binding.id]
    return [f"{keys.get(binding.id or '', binding.key):<10} {binding.description}" for binding in named]


def key_of(action: str, bindings: Iterable[BindingType], keys: Mapping[str, str]) -> str:
    """The key of one action, as people write it."""
    bound = next(binding for binding in bindings if isinstance(binding, Binding) and binding.id == action)
    key = keys.get(action, bound.key)
    return key if len(key) == 1 else key.title()
