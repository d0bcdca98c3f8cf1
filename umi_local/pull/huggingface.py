"""Filling a `.part` from Hugging Face or a mirror that speaks its `resolve` URLs. The only import of httpx here.

Environment, as huggingface_hub reads it: `HF_ENDPOINT` (a mirror), `HF_HUB_OFFLINE` (do not try); proxies and
certificates as httpx reads them. Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from umi_local.manifest import HuggingFaceSource
from umi_local.pull.part import Part, SourceFailed

if TYPE_CHECKING:
    import httpx

ENDPOINT = "https://huggingface.co"

_CONNECT_SECONDS = 3
_READ_SECONDS = 30
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)", re.ASCII)


def fill(source: HuggingFaceSource, part: Part, watch: Callable[[int], None]) -> None:
    """Append what `part` misses; `watch` is told its length. A dropped connection is taken up where it broke.

    Raises:
        SourceFailed: a request brought no byte, or what it offers is not the file.
    """
    _refuse_offline()
    url = f"{_endpoint()}/{source.repo}/resolve/{quote(source.revision)}/{quote(source.path)}"
    with _client() as client:
        while part.missing:
            before = part.length
            reason = _stream(client, url, part, watch)
            if part.length == before:
                raise SourceFailed(reason or "the connection closed without data")


def _client() -> httpx.Client:
    import httpx

    # Ranges count the file's own bytes only where the server does not compress.
    headers = {"Accept-Encoding": "identity", "User-Agent": "umi-local"}
    timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    try:
        return httpx.Client(headers=headers, timeout=timeout, follow_redirects=True)
    # What httpx lets through for a proxy it does not know, a missing SOCKS package, a missing certificate file.
    except (ValueError, ImportError, OSError) as error:
        raise SourceFailed(f"proxy or certificate settings: {_brief(error)}") from None


def _stream(client: httpx.Client, url: str, part: Part, watch: Callable[[int], None]) -> str:
    """Take what one request gives. The answer says why it broke off; empty where it did not."""
    import httpx

    try:
        with client.stream("GET", url, headers={"Range": f"bytes={part.length}-"}) as response:
            skip = _already_there(response.status_code, response.headers, part)
            for chunk in response.iter_raw():
                part.write(chunk[skip:])
                skip = max(0, skip - len(chunk))
                watch(part.length)
    except httpx.ConnectTimeout:
        return f"no connection within {_CONNECT_SECONDS} s"
    except httpx.ReadTimeout:
        return f"no data for {_READ_SECONDS} s"
    except httpx.ConnectError as error:
        return f"no connection ({_brief(error)})"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _brief(error)
    return ""


def _already_there(status: int, headers: Mapping[str, str], part: Part) -> int:
    """Bytes at the start of the body that `part` has: none, or all of its own where the server knows no ranges."""
    if status == 206:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if not found or int(found[1]) != part.length:
            raise SourceFailed("it answers with another range than asked for")
        _check_size(found[2], part)
        return 0
    if status == 200:
        _check_size(headers.get("content-length", "*"), part)
        return part.length
    raise SourceFailed(f"HTTP {status}")


def _check_size(stated: str, part: Part) -> None:
    if stated != "*" and stated != str(part.file.bytes):
        raise SourceFailed(f"it has {stated[:20]} bytes where {part.file.bytes} are promised")


def _brief(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:120]


def about(repo: str, revision: str) -> dict[str, Any]:
    """What the hub says of a repository: its commit, and its files with sizes and hashes.

    Raises:
        SourceFailed: it could not be asked, or has no such repository.
    """
    import httpx

    _refuse_offline()
    url = f"{_endpoint()}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        with _client() as client:
            response = client.get(url)
    except httpx.ConnectTimeout:
        raise SourceFailed(f"no connection within {_CONNECT_SECONDS} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceFailed(f"no connection ({_brief(error)})") from None
    if response.status_code in (401, 404):
        raise SourceFailed(f"the hub has no {repo} at {revision}, or it is not public")
    if response.status_code != 200:
        raise SourceFailed(f"HTTP {response.status_code}")
    try:
        found = response.json()
    except ValueError:
        raise SourceFailed("the hub's answer is not JSON") from None
    if not isinstance(found, dict):
        raise SourceFailed("the hub's answer is not an object")
    return found


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT


def _refuse_offline() -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise SourceFailed("skipped because HF_HUB_OFFLINE is set")
