"""The pytest plugin of the tests of pulling; apart from `pulling`, which test files import before a plugin loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pulling import Hub, serving


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network but our own, through the settings that a user would make; pip looks into this folder alone."""
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "ALL_PROXY", "HTTP_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
