"""The terminal chat: each role's turn on a card of its own."""

from umi_local.settings import Chat
from umi_local.tui.app import REBINDABLE, ChatApp
from umi_local.tui.appearance import check

__all__ = ["ChatApp", "check_chat"]


def check_chat(chosen: Chat) -> None:
    """Raises ConfigError if the chat cannot look or be driven as these settings say."""
    check(chosen, REBINDABLE)
