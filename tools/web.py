"""One web page as text, from public addresses only.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name that
points elsewhere a moment later changes nothing. Redirects are followed by hand, each through the same check. Proxy
settings of the environment are not used, as a proxy would resolve the name anew.
"""

from __future__ import annotations

import codecs
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from umi_local.plain import visible
from umi_local.toolbox import Effect, ToolContext, ToolError, tool, waited_for

if TYPE_CHECKING:
    import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TIMEOUT = 10.0  # seconds, for everything together
MAX_REDIRECTS = 5
MAX_BYTES = 1_000_000
MAX_TEXT = 20_000  # characters
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")  # all that is given out; older Pythons call more of it global
# To the IPv6 of a network that nobody knows, and for documents, which older Pythons do not know either.
_RELAYS, _DOCUMENTS = ipaddress.IPv4Network("192.88.99.0/24"), ipaddress.IPv6Network("3fff::/20")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NO_TEXT = ("punycode", "idna", "unicode-escape", "raw-unicode-escape")  # codecs that are slow, or none of texts


def _preview(_context: ToolContext, arguments: Mapping[str, Any]) -> str:
    return visible(f"GET {arguments['url']}")


def _scope(_context: ToolContext, arguments: Mapping[str, Any]) -> Mapping[str, str]:
    """The address as it will be asked for, written in the one way that there is of writing it."""
    return {"url": str(_checked(_complete(arguments["url"])))}


def _complete(url: str) -> str:
    return url if "://" in url else f"https://{url.strip()}"


@tool(effect=Effect.NETWORK, asks=True, enabled=False, preview=_preview, scope=_scope)
def fetch_url(context: ToolContext, url: Annotated[str, "such as https://example.org/page"]) -> str:
    """Read a public web page as text when the user gives its address."""
    return fetch(url, is_public, permitted=lambda target: context.permitted({"url": target}), stop=context.stop)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also when it is an IPv4 address in IPv6 clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 or int(address) >> 32 == 0:  # 64:ff9b::a.b.c.d and the old ::a.b.c.d
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return is_public(inner)
        if address not in _GLOBAL_IPV6 or address in _DOCUMENTS:
            return False
    elif address in _RELAYS:
        return False
    return address.is_global and not address.is_multicast


def resolve(host: str) -> list[Address]:
    """All addresses of a host name or of an address in letters.

    Raises:
        ToolError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ToolError(f"There is no host {host}, or there is no connection to the internet.") from None
    return [ipaddress.ip_address(address) for address in dict.fromkeys(str(entry[4][0]) for entry in found)]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    ok: bool
    location: str | None
    kind: str
    charset: str | None
    body: bytes
    cut: bool


def fetch(
    url: str,
    allowed: Callable[[Address], bool],
    resolved: Callable[[str], list[Address]] = resolve,
    permitted: Callable[[str], bool] = lambda _target: True,
    stop: threading.Event | None = None,
) -> str:
    """The text of a page, connecting only to addresses that are `allowed`, within TIMEOUT.

    Redirects are followed to what is `permitted`.

    Raises:
        ToolError: the address is refused or wrong, there is no answer in time, or the answer is no text.
    """
    future: Future[str] = Future()

    def work() -> None:
        try:
            future.set_result(_followed(url, allowed, resolved, permitted))
        except BaseException as error:  # handed to the caller, whatever it is
            future.set_exception(error)

    # A thread that may be left behind: neither looking up a name nor a server that sends a byte at a time ends in time.
    threading.Thread(target=work, daemon=True).start()
    try:
        return waited_for(future, TIMEOUT, stop)
    except TimeoutError:
        raise ToolError(f"{url} did not answer within {TIMEOUT:g} seconds.") from None


def _followed(
    url: str,
    allowed: Callable[[Address], bool],
    resolved: Callable[[str], list[Address]],
    permitted: Callable[[str], bool],
) -> str:
    import httpx

    target = _checked(_complete(url))
    with httpx.Client(trust_env=False, timeout=TIMEOUT) as client:
        for _ in range(MAX_REDIRECTS + 1):
            addresses = resolved(target.host)
            for address in addresses:
                if not allowed(address):
                    raise ToolError(f"{target.host} is not on the public internet, so it is not fetched.")
            answer = _got(client, target, addresses)
            if answer.location is None:
                return _told(target, answer)
            target = _checked(answer.location, target)
            if not permitted(str(target)):
                raise ToolError(f"{url} leads on to {target}, for which no permission was given.")
    raise ToolError(f"{url} redirects more than {MAX_REDIRECTS} times.")


def _checked(url: str, origin: httpx.URL | None = None) -> httpx.URL:
    """An address that may be looked up; a relative one is seen from `origin`."""
    import httpx

    try:
        parsed = httpx.URL(origin or "").join(url.strip())
        host = parsed.host.rstrip(".")
    except (httpx.InvalidURL, UnicodeError):  # the latter of a host's name in the alphabets of the world
        raise ToolError(f"{url!r} is not a web address.") from None
    if parsed.scheme not in ("http", "https") or not host or (parsed.port or 0) > 65535:
        raise ToolError(f"{url!r} is not a web address; it must start with http:// or https://.")
    if parsed.userinfo:
        raise ToolError("A web address with a user name or password is not fetched.")
    path, mark, query = parsed.raw_path.decode("ascii").partition("?")
    return parsed.copy_with(host=host, raw_path=f"{_normal(path)}{mark}{query}".encode("ascii"), fragment=None)


def _normal(path: str) -> str:
    """A path as servers understand it (RFC 3986, 6.2.2): rules must not be got around by writing it otherwise."""

    def plain(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if char in _UNRESERVED else found[0].upper()

    held: list[str] = []
    parts = re.sub("%([0-9A-Fa-f]{2})", plain, path).split("/")[1:]
    for part in parts:
        if part == "..":
            held[-1:] = []
        elif part != ".":
            held.append(part)
    ends_open = parts and parts[-1] in (".", "..")
    return "/" + "/".join([*held, ""] if ends_open and held else held)


def _got(client: httpx.Client, url: httpx.URL, addresses: list[Address]) -> _Answer:
    import httpx

    headers = {"Host": url.netloc.decode("ascii"), "User-Agent": "umi-local", "Accept-Encoding": "gzip, deflate"}
    extensions = {"sni_hostname": url.raw_host.decode("ascii")}  # the certificate must be the name's, not the address's
    problem: Exception | None = None
    for address in addresses:
        client.cookies.clear()
        at = url.copy_with(host=str(address))
        try:
            with client.stream("GET", at, headers=headers, extensions=extensions) as response:
                return _read(response)
        except httpx.ConnectError as error:
            problem = error
        except httpx.HTTPError as error:
            problem = error
            break
    raise ToolError(f"{url.host} could not be read: {problem or 'it has no address'}.")


def _read(response: httpx.Response) -> _Answer:
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "deflate"):
        raise ToolError("The page is compressed in a way that is not supported.")  # and may unpack to gigabytes
    body, deadline = b"", time.monotonic() + TIMEOUT
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_BYTES or time.monotonic() > deadline:
            break
    return _Answer(
        status=f"{response.status_code} {response.reason_phrase}".strip(),
        ok=response.is_success,
        location=response.headers.get("location") if response.is_redirect else None,
        kind=response.headers.get("content-type", "text/plain").partition(";")[0].strip().lower(),
        charset=response.charset_encoding,
        body=body[:MAX_BYTES],
        cut=len(body) > MAX_BYTES,
    )


def _told(url: httpx.URL, answer: _Answer) -> str:
    if not answer.ok:
        raise ToolError(f"{url} answered {answer.status}.")
    if answer.kind in ("text/html", "application/xhtml+xml"):
        text = html_text(answer.body, answer.charset)
    elif answer.kind.startswith("text/") or answer.kind.rpartition("/")[2].rpartition("+")[2] in ("json", "xml"):
        text = _decoded(answer.body, answer.charset)
    else:
        raise ToolError(f"{url} is {answer.kind}, not text.")
    cut = answer.cut or len(text) > MAX_TEXT
    return (text[:MAX_TEXT] + "\n[The page goes on.]") if cut else text or "The page has no text."


def _decoded(body: bytes, charset: str | None) -> str:
    """A text by the charset that is told of it, else as UTF-8, whose last character may be cut, else as browsers do."""
    with suppress(LookupError, ValueError):
        if charset and codecs.lookup(charset).name not in _NO_TEXT:
            return body.decode(charset, errors="replace").strip()
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(body).strip()
    except UnicodeDecodeError:
        return body.decode("cp1252", errors="replace").strip()


_DROPPED = frozenset({"script", "style", "noscript", "template", "nav", "svg", "iframe"})
_BLOCKS = re.compile("p|div|section|article|main|header|footer|[uo]l|li|table|tr|h[1-6r]|pre|blockquote|d[td]|title")


def html_text(body: bytes, charset: str | None = None) -> str:
    """What a reader sees of a page: a line per block, no scripts, styles or navigation."""
    lines = (" ".join(line.split()) for line in "".join(_pieces(body, charset)).split("\0"))
    return "\n".join(line for line in lines if line)


def _pieces(body: bytes, charset: str | None) -> Iterator[str]:
    """The page's texts with a zero between blocks, in one pass: a page may be nested a hundred thousand deep."""
    from bs4 import BeautifulSoup
    from bs4.dammit import EncodingDetector
    from bs4.element import NavigableString, PreformattedString, Tag

    # Decoded here: a page may name a codec that takes hours.
    data, marked = EncodingDetector.strip_byte_order_mark(body)
    declared = marked or charset or EncodingDetector.find_declared_encoding(data, is_html=True)
    soup = BeautifulSoup(_decoded(data, declared), "html.parser")
    blocks: dict[int, int | None] = {id(soup): id(soup)}  # element -> the block that it is in; None if it is dropped
    last: int | None = None
    for element in soup.descendants:
        block = blocks[id(element.parent)]
        if isinstance(element, Tag):
            dropped = block is None or element.name in _DROPPED
            blocks[id(element)] = None if dropped else id(element) if _BLOCKS.fullmatch(element.name) else block
            yield {"br": "\0", "td": " ", "th": " "}.get(element.name, "")
        elif isinstance(element, NavigableString) and not isinstance(element, PreformattedString) and block is not None:
            yield str(element) if block == last else f"\0{element}"
            last = block
