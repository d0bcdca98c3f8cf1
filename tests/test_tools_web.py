"""Web pages: what is refused before a connection is made, and what comes of a page that is allowed.

No test reaches the internet. The allowed pages are served on this machine: `fetch` takes the check of addresses and
the look-up of names as parameters, and the tests give it ones that let the local server through.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from umi_local.toolbox import ToolContext, ToolError, Workspace
from umi_local.tools import web
from umi_local.tools.web import Address, fetch, fetch_url, html_text, is_public

LOCAL: Address = ipaddress.ip_address("127.0.0.1")


class Site(BaseHTTPRequestHandler):
    """A site whose pages are named after what they do."""

    pages: dict[str, tuple[int, dict[str, str], bytes]] = {  # noqa: RUF012
        "/page": (200, {"Content-Type": "text/html"}, b"<title>T</title><p>Hello <b>there</b>.</p><script>x</script>"),
        "/plain": (200, {"Content-Type": "text/plain; charset=latin-1"}, "café".encode("latin-1")),
        "/odd": (200, {"Content-Type": "text/plain; charset=klingon"}, b"ok"),
        "/json": (200, {"Content-Type": "application/ld+json"}, b'{"a": 1}'),
        "/image": (200, {"Content-Type": "image/png"}, b"\x89PNG"),
        "/missing": (404, {}, b"no"),
        "/moved": (302, {"Location": "/page"}, b""),
        "/away": (301, {"Location": "http://inside.example/page"}, b""),
        "/file": (302, {"Location": "file:///etc/passwd"}, b""),
        "/loop": (302, {"Location": "/loop"}, b""),
        "/big": (200, {"Content-Type": "text/plain"}, b"x" * 1_500_000),
        "/zstd": (200, {"Content-Encoding": "zstd"}, b"x"),
        "/cookie": (302, {"Location": "/headers", "Set-Cookie": "a=b"}, b""),
    }

    def do_GET(self) -> None:
        status, headers, body = self.pages.get(self.path, (200, {"Content-Type": "text/plain"}, b""))
        body = str(self.headers).encode() if self.path == "/headers" else body
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body) + 9 * (self.path == "/slow"))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/slow":
            time.sleep(2)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def get(url: str) -> str:
    return fetch(url, allowed=lambda address: address == LOCAL)


def call(url: str) -> str:
    context = ToolContext(Workspace(Path()), Path("notes.md"))
    text: str = fetch_url.call(context, fetch_url.validate({"url": url}))
    return text


def test_fetching_is_off_by_default_and_asks_first() -> None:
    assert not fetch_url.enabled
    assert fetch_url.asks
    assert fetch_url.effect == "network"


# --- addresses


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_addresses_inside_are_refused(host: str, site: str) -> None:
    with pytest.raises(ToolError, match=r"is not on the public internet|There is no host"):
        call(f"http://{host}:{site.partition(':')[2]}/page")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["::127.0.0.1", "2002:7f00:1::", "2001:0:808:808::80ff:fffe", "fec0::1", "ff02::1", "192.0.2.1", "240.0.0.1"],
)
def test_addresses_in_disguise_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_one_inner_address_among_public_ones_refuses_the_host() -> None:
    addresses = [ipaddress.ip_address("8.8.8.8"), LOCAL]
    with pytest.raises(ToolError, match=r"mixed\.example is not on the public internet"):
        fetch("http://mixed.example/", is_public, lambda host: addresses)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http:///x",
        "javascript:alert(1)",
        "http://h:99999/",
        "http://⒈⒉/",
        "http://xn--/",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ToolError, match="is not a web address"):
        call(url)


def test_a_password_in_the_address_is_refused() -> None:
    with pytest.raises(ToolError, match="user name or password"):
        call("http://user:secret@example.org/")


def test_an_unknown_host_is_told() -> None:
    with pytest.raises(ToolError, match=r"There is no host nothing\.invalid"):
        call("nothing.invalid")


# --- pages


def test_a_page_comes_back_as_text(site: str) -> None:
    assert get(f"http://{site}/page") == "T\nHello there."


@pytest.mark.parametrize(
    ("page", "text"), [("plain", "café"), ("odd", "ok"), ("json", '{"a": 1}'), ("moved", "T\nHello there.")]
)
def test_other_texts_and_redirects_come_back_as_well(site: str, page: str, text: str) -> None:
    assert get(f"http://{site}/{page}") == text


@pytest.mark.parametrize(
    ("page", "part"),
    [
        ("image", "is image/png, not text"),
        ("missing", "answered 404 Not Found"),
        ("file", "must start with http"),
        ("loop", "redirects more than 5 times"),
        ("zstd", "compressed in a way"),
    ],
)
def test_other_answers_are_told_in_a_sentence(site: str, page: str, part: str) -> None:
    with pytest.raises(ToolError, match=part):
        get(f"http://{site}/{page}")


def test_a_redirect_is_checked_like_an_address(site: str) -> None:
    def resolved(host: str) -> list[Address]:
        return [ipaddress.ip_address("10.0.0.1") if host == "inside.example" else LOCAL]

    with pytest.raises(ToolError, match=r"inside\.example is not on the public internet"):
        fetch(f"http://{site}/away", lambda address: address == LOCAL, resolved)


def test_a_redirect_is_followed_to_what_is_permitted(site: str) -> None:
    asked: list[str] = []

    def permitted(target: str) -> bool:
        asked.append(target)
        return False

    with pytest.raises(ToolError, match=r"leads on to .*, for which no permission was given"):
        fetch(f"http://{site}/moved", lambda address: address == LOCAL, permitted=permitted)
    assert asked == [f"http://{site}/page"]


def test_the_connection_goes_to_the_checked_address_with_the_name_of_the_host(site: str) -> None:
    asked: list[str] = []

    def resolved(host: str) -> list[Address]:
        asked.append(host)
        return [LOCAL]

    port = site.partition(":")[2]
    told = fetch(f"http://site.example:{port}/headers", lambda address: address == LOCAL, resolved)
    assert f"Host: site.example:{port}" in told
    assert asked == ["site.example"]


def test_the_next_address_is_tried_where_one_does_not_answer(site: str) -> None:
    addresses: list[Address] = [ipaddress.ip_address("127.0.0.9"), LOCAL]
    assert fetch(f"http://x.example:{site.partition(':')[2]}/plain", lambda _: True, lambda _: addresses) == "café"


def test_tls_names_the_host_not_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        hello: list[bytes] = []

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                hello.append(connection.recv(4096))

        listener = threading.Thread(target=listen)
        listener.start()
        with pytest.raises(ToolError, match="could not be read"):
            fetch(f"https://site.example:{server.getsockname()[1]}/", lambda _: True, lambda _: [LOCAL])
        listener.join()
    assert b"site.example" in hello[0]


def test_no_cookies_are_sent(site: str) -> None:
    assert "Cookie" not in get(f"http://{site}/cookie")


def test_proxies_of_the_environment_are_not_used(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert get(f"http://{site}/plain") == "café"


def test_a_long_page_is_cut_and_says_so(site: str) -> None:
    text = get(f"http://{site}/big")
    assert len(text) < 20_100
    assert text.endswith("\n[The page goes on.]")


def test_a_server_that_dawdles_is_left(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    start = time.monotonic()
    with pytest.raises(ToolError, match=r"did not answer within|could not be read"):
        get(f"http://{site}/slow")
    assert time.monotonic() - start < 1.5


def test_a_closed_port_is_told() -> None:
    with pytest.raises(ToolError, match=r"127\.0\.0\.1 could not be read"):
        get("http://127.0.0.1:1/")


# --- text of HTML


def test_blocks_become_lines_and_the_rest_flows() -> None:
    page = b"""<!doctype html><html><head><title>News</title><style>p {}</style></head><body>
    <!-- comment --><nav><a href="/">Home</a></nav><h1>Rain</h1><p>It <a href=x>will
    rain</a> in <b>Bergen</b>.</p>Bring a coat<br>and a hat<ul><li>one<li>two</ul>
    <table><tr><th>Day</th><td>Monday</td></tr></table><div>a<p>b</p>c</div><script>track()</script></body>"""
    assert html_text(page).splitlines() == [
        *("News", "Rain", "It will rain in Bergen.", "Bring a coat", "and a hat", "one", "two"),
        *("Day Monday", "a", "b", "c"),
    ]


@pytest.mark.parametrize(
    ("page", "charset", "text"),
    [
        ("Preis: 5 €".encode("cp1252"), None, "Preis: 5 €"),
        ("Preis: 5 €".encode(), None, "Preis: 5 €"),
        ("Preis: 5 €".encode()[:-1], None, "Preis: 5"),
        ("Preis: 5 €".encode("utf-16"), None, "Preis: 5 €"),
        (b"<meta charset=koi8-r>" + "Цена".encode("koi8-r"), None, "Цена"),
        ("Цена".encode("koi8-r"), "koi8-r", "Цена"),
        ("Preis: 5 €".encode(), "no-such-charset", "Preis: 5 €"),
    ],
)
def test_a_page_is_read_in_its_charset(page: bytes, charset: str | None, text: str) -> None:
    assert html_text(page, charset) == text


@pytest.mark.parametrize("charset", ["punycode", "PunyCode", "raw_unicode_escape"])
def test_no_page_chooses_a_codec_that_takes_hours(charset: str) -> None:
    page = f"<meta charset={charset}>".encode() + b"a-b" * 100_000
    start = time.perf_counter()
    assert html_text(page).startswith("a-ba-b")
    assert html_text(page, charset).startswith("a-ba-b")
    assert time.perf_counter() - start < 20


def test_a_page_nested_without_end_takes_no_time() -> None:
    start = time.perf_counter()
    assert html_text(b"<div>" * 20_000 + b"x") == "x"
    assert time.perf_counter() - start < 3
