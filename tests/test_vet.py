"""What is not sound GGUF is refused with a sentence, before native code sees it; nothing else ever comes out."""

from __future__ import annotations

import io
import random
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umi_local.convert.vet import GgufHeader, vet_gguf
from umi_local.errors import ModelCorrupt, ModelMissing, StorageError

STRING, ARRAY, UINT16, UINT32, UINT64 = 8, 9, 2, 4, 10
F32, Q4_0 = 0, 2


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, payload: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + payload


def tensor(name: bytes, shape: tuple[int, ...], kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ARCHITECTURE = pair(b"general.architecture", STRING, text(b"llama"))


def gguf(pairs: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), data: int = 4096, version: int = 3) -> bytes:
    """A file with these pairs after its architecture, these tensors, and `data` bytes behind its header."""
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(pairs) + 1) + ARCHITECTURE
    return head + b"".join(pairs) + b"".join(tensors) + bytes(data)


def vetted(folder: Path, content: bytes) -> GgufHeader:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return vet_gguf(path)


def write_sound_file(path: Path) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_name("Small")
    writer.add_context_length(2048)
    writer.add_chat_template("{{ messages }}")
    writer.add_token_list([b"a", b"bc", b"def"])
    writer.add_token_scores([0.0, -1.0, -2.0])
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), dtype=np.float32))
    writer.add_tensor("output.weight", np.ones((3, 8), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "model.gguf"
    write_sound_file(path)
    return path.read_bytes()


def test_a_sound_file_gives_its_header(tmp_path: Path, sound: bytes) -> None:
    header = vetted(tmp_path, sound)
    assert (header.architecture, header.name, header.context_length) == ("llama", "Small", 2048)
    assert header.chat_template == "{{ messages }}"
    assert header.tensor_bytes == 3 * 8 * 4 + 3 * 8 * 2
    assert header.metadata["llama.context_length"] == 2048
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_an_adapter_without_a_context_length_is_sound(tmp_path: Path) -> None:
    header = vetted(tmp_path, gguf())
    assert (header.context_length, header.chat_template, header.tensor_bytes) == (0, "", 0)


def test_a_large_vocabulary_is_walked_in_a_moment(tmp_path: Path) -> None:
    words = b"".join(text(b"token%d" % n) for n in range(150_000))
    content = gguf((pair(b"tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 150_000) + words),))
    vetted(tmp_path, content)
    start = time.perf_counter()
    vetted(tmp_path, content)
    assert time.perf_counter() - start < 1


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (random.Random(0).randbytes(4096), "not GGUF"),
        (b"GG", "not GGUF"),
        (zipped(), "zip archive"),
        (b"\n<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
        (struct.pack("<Q", 40) + b'{"w":{"dtype":"F32","shape":[1],"data_o' + bytes(64), "safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "big-endian"),
        (gguf(version=1), "version 1"),
        (gguf(version=77), "version 77"),
    ],
)
def test_what_is_no_gguf_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    with pytest.raises(ModelCorrupt, match=word) as caught:
        vetted(tmp_path, content)
    assert caught.value.remedy
    assert caught.value.problem.count(". ") == 0


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match="not a file"):
        vet_gguf(tmp_path)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no file"):
        vet_gguf(tmp_path / "nowhere.gguf")


def test_a_path_through_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be read"):
        vet_gguf(tmp_path / "file" / "model.gguf")


def test_missing_tensor_bytes_are_counted(tmp_path: Path, sound: bytes) -> None:
    with pytest.raises(ModelCorrupt, match=r"cut short: 10 of its [\d,]+ bytes are missing"):
        # The writer pads the last tensor to 32 bytes; 48 of them are the tensor's own.
        vetted(tmp_path, sound[: len(sound) - 16 - 10])


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path, sound: bytes) -> None:
    for length in range(len(sound) - 16):
        with pytest.raises(ModelCorrupt):
            vetted(tmp_path, sound[:length])


def nested(depth: int) -> bytes:
    return struct.pack("<IQ", ARRAY, 1) * depth + struct.pack("<IQ", UINT32, 0)


BAD = {
    "pairs": struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 60),
    "tensors": struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 0),
    "no architecture": struct.pack("<4sIQQ", b"GGUF", 3, 0, 0),
    "one of several parts": gguf((pair(b"split.count", UINT16, struct.pack("<H", 2)),)),
    "twice": gguf((pair(b"a", UINT32, bytes(4)), pair(b"a", UINT32, bytes(4)))),
    "bytes for a metadata key": gguf((pair(b"k" * 65_536, UINT32, bytes(4)),)),
    "not UTF-8": gguf((pair(b"\xff\xfe", UINT32, bytes(4)),)),
    "unknown value type 99": gguf((pair(b"a", 99, bytes(4)),)),
    "unknown value type 13": gguf((pair(b"a", ARRAY, struct.pack("<IQ", 13, 2)),)),
    "more than any real model": gguf((pair(b"a", ARRAY, struct.pack("<IQ", UINT64, 1 << 40)),)),
    "nests arrays": gguf((pair(b"a", ARRAY, nested(9)),)),
    "bytes for 'a'": gguf((pair(b"a", STRING, struct.pack("<Q", 1 << 62)),)),
    "bytes for one string": gguf((pair(b"a", ARRAY, struct.pack("<IQQ", STRING, 1, 1 << 62)),)),
    "cut short": gguf((pair(b"a", ARRAY, struct.pack("<IQ", UINT64, 1 << 20)),)),
    "not text": gguf((pair(b"general.name", UINT32, bytes(4)),)),
    "not a number of tokens": gguf((pair(b"llama.context_length", STRING, text(b"many")),)),
    "power of two": gguf((pair(b"general.alignment", UINT32, struct.pack("<I", 33)),)),
    "5 dimensions": gguf(tensors=(tensor(b"w", (1, 1, 1, 1, 1)),)),
    "impossible shape": gguf(tensors=(tensor(b"w", (1 << 40, 1 << 40)),)),
    "shape 4 x 0": gguf(tensors=(tensor(b"w", (4, 0)),)),
    "unknown tensor type 4": gguf(tensors=(tensor(b"w", (4,), kind=4),)),
    "multiple of 32": gguf(tensors=(tensor(b"w", (33,), kind=Q4_0),)),
    "not a multiple of 32": gguf(tensors=(tensor(b"w", (4,), offset=8),)),
    "over another tensor": gguf(tensors=(tensor(b"w", (64,)), tensor(b"v", (4,), offset=32))),
    "the tensor 'w' twice": gguf(tensors=(tensor(b"w", (4,)), tensor(b"w", (4,), offset=32))),
    "bytes are missing": gguf(tensors=(tensor(b"w", (4,), offset=1 << 62),)),
    "bytes for a tensor's name": gguf(tensors=(tensor(b"w" * 200, (4,)),)),
}


@pytest.mark.parametrize("words", BAD)
def test_a_value_that_no_sound_file_holds_is_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(ModelCorrupt) as caught:
        vetted(tmp_path, BAD[words])
    assert words in caught.value.problem


def test_a_name_and_a_key_of_the_greatest_length_are_sound(tmp_path: Path) -> None:
    long = gguf((pair(b"k" * 65_535, UINT32, bytes(4)),), (tensor(b"w" * 127, (4,)),))
    assert vetted(tmp_path, long).metadata["k" * 65_535] == 0


def test_a_name_in_the_file_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt) as caught:
        vetted(tmp_path, gguf((pair(b"\x1b]0;owned\x07" * 500, 99, b""),)))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def outcome(path: Path) -> GgufHeader | None:
    try:
        return vet_gguf(path)
    except ModelCorrupt:
        return None


EDGES = st.sampled_from([0, 1, 31, 32, 255, 1 << 20, 1 << 31, 1 << 32, (1 << 62) + 1, (1 << 63) - 1, (1 << 64) - 1])


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_file_is_refused_or_read_but_never_worse(tmp_path: Path, sound: bytes, data: st.DataObject) -> None:
    content = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 8))
        match data.draw(st.sampled_from(["byte", "number", "cut", "insert"])):
            case "byte":
                content[at] = data.draw(st.integers(0, 255))
            case "number":
                content[at : at + 8] = struct.pack("<Q", data.draw(EDGES))
            case "cut" if len(content) > 64:
                del content[at : at + data.draw(st.integers(1, 16))]
            case _:
                content[at:at] = data.draw(st.binary(max_size=16))
    path = tmp_path / "changed.gguf"
    path.write_bytes(content)
    outcome(path)


@given(content=st.binary(max_size=512))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_behind_a_magic_are_refused_or_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 1, 2) + content)
    outcome(path)
