"""Where a role's model is served, as a value that needs nothing installed."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from umi_local.errors import UsageError

# A variable of its own: a key for one service must not reach whatever server is named.
KEY_VARIABLE = "UMI_LOCAL_API_KEY"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a role's model is served: the address that ends in /v1, and the model's name there, empty for its first."""

    url: str
    model: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def is_this_machine(self) -> bool:
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")


def server_of(text: str) -> Server:
    """`http://HOST:PORT/v1#MODEL` as a server.

    Raises:
        UsageError: it is no such address, or holds a password, which would be shown and stored.
    """
    address, _, model = text.partition("#")
    try:
        parts = urlsplit(address)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        named = False
    if not named:
        raise UsageError(f"{text} is no server's address.", "Write it as http://HOST:PORT/v1#MODEL.")
    if parts.username or parts.password:
        raise UsageError("A server's address may hold no password.", f"Put the key into {KEY_VARIABLE}.")
    return Server(address.rstrip("/"), model)
