"""The terminal chat: each role's turn on a card of its own."""

from umi_local.tui.app import ChatApp

__all__ = ["ChatApp"]
