"""A converted checkpoint gives llama.cpp what the original gives transformers; what cannot be converted is said."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from llama_logits import Loaded
from tiny_checkpoints import MODELS, WORDS, save_model, save_sentencepiece, save_tokenizer

from umi_local.convert import weights
from umi_local.convert.architectures import ARCHITECTURES
from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.encoding import Kind, encoded
from umi_local.convert.output import Source, Written
from umi_local.errors import ModelCorrupt, ModelMissing, StorageError, UmiError, UsageError

HERE = Source("a test")
TOKENS = [int(token) for token in np.random.default_rng(0).integers(3, 590, 64)]


def convert(folder: Path, out: Path, quant: str = "f32", **more: Any) -> Written:
    return convert_checkpoint(folder, out, quant, HERE, lambda *_: None, **more)


def logits_of(path: Path, tokens: list[int]) -> Any:
    loaded = Loaded(path)
    try:
        return loaded.logits(tokens)
    finally:
        loaded.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sound checkpoint, for copies of it to be spoilt."""
    folder = tmp_path_factory.mktemp("checkpoint") / "sound"
    save_model(folder, "llama")
    save_tokenizer(folder)
    return folder


@pytest.fixture
def spoilt(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "spoilt"))


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    import torch

    model = save_model(tmp_path / "model", name)
    save_tokenizer(tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "model.gguf")
    with torch.no_grad():
        wanted = model(torch.tensor([TOKENS])).logits[0].numpy()
    found = logits_of(tmp_path / "model.gguf", TOKENS)
    assert np.abs(found - wanted).max() < 1e-3
    # Random weights tell arrangements apart only if attention does something: order must matter.
    backwards = logits_of(tmp_path / "model.gguf", TOKENS[::-1])
    assert np.abs(found[-1] - backwards[-1]).max() > 1e-2


@pytest.mark.parametrize("way", ["qwen2", "llama-3", "gpt-2", "smollm", "llama-2"])
def test_token_ids_are_those_of_the_tokenizer(way: str, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    save_model(tmp_path / "model", "llama")
    save_tokenizer(tmp_path / "model", way)
    convert(tmp_path / "model", tmp_path / "model.gguf")
    tokenizer = Tokenizer.from_file(str(tmp_path / "model/tokenizer.json"))
    loaded = Loaded(tmp_path / "model.gguf")
    for line in lines(400):
        assert loaded.tokens(line, special=True) == tokenizer.encode(line, add_special_tokens=False).ids, repr(line)
    loaded.close()


def test_a_unigram_tokenizer_gives_the_same_ids_for_ordinary_text(tmp_path: Path) -> None:
    """llama.cpp cuts spaces at a text's ends where SentencePiece's own rules say so; inside, nothing differs."""
    save_model(tmp_path / "model", "llama")
    tokenizer = save_tokenizer(tmp_path / "model", "unigram")
    convert(tmp_path / "model", tmp_path / "model.gguf")
    loaded = Loaded(tmp_path / "model.gguf")
    chance = random.Random(3)
    words = sorted({word for text in WORDS for word in text.split() if word.isalpha()})
    for _ in range(300):
        line = " ".join(chance.choices(words, k=chance.randint(1, 12)))
        assert loaded.tokens(line) == tokenizer.encode(line, add_special_tokens=False).ids, line
    loaded.close()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_googles_own_tokenizers_are_read(kind: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model", "llama")
    processor = save_sentencepiece(tmp_path / "model", kind)
    convert(tmp_path / "model", tmp_path / "model.gguf")
    loaded = Loaded(tmp_path / "model.gguf")
    chance = random.Random(3)
    # Runs of one digit can be cut in several ways of the same score.
    words = sorted({word for text in WORDS for word in text.split() if not re.search("[0-9]", word)})
    for _ in range(300):
        line = " ".join(chance.choices(words, k=chance.randint(1, 12)))
        assert loaded.tokens(line, special=True) == processor.encode(line), line
    loaded.close()


@pytest.mark.parametrize("data", [b"", b"no model", b"\x0a\xff\xff\xff\xff\x0f", bytes(range(256)) * 20])
def test_what_is_no_sentencepiece_model_is_said(data: bytes, spoilt: Path, tmp_path: Path) -> None:
    (spoilt / "tokenizer.model").write_bytes(data)
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.model"):
        convert(spoilt, tmp_path / "model.gguf")


def lines(count: int) -> list[str]:
    """Code, scripts, emoji and runs of whitespace, mixed at random."""
    parts = [
        *(
            "hello",
            " world",
            "The ",
            "  ",
            "\t",
            "\n",
            "\r\n",
            "12",
            "345",
            "6789",
            "3.14",
            "I'll",
            "IT'S",
            "é",
            "e\u0301",
        ),
        *(
            "你好",
            "世界",
            "こん",
            "Привет",
            "שלום",
            "مرحبا",
            "🚀",
            "👩‍👩‍👧",
            "—",
            "„",
            "...",
            "!!",
            "def f(x):\n    return x",
        ),
        *("<tool>", "_", "▁", "नमस्ते", "   ", "'s", "'RE", "ﬁ", "½", "\u00a0", "x" * 30),
    ]
    chance = random.Random(1)
    return ["".join(chance.choices(parts, k=chance.randint(1, 12))) for _ in range(count)]


@pytest.mark.parametrize("quant", ["f16", "bf16", "q8_0"])
def test_other_types_are_near_and_norms_stay_exact(quant: str, checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "exact.gguf")
    convert(checkpoint, tmp_path / "model.gguf", quant)
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.attn_q.weight"] == quant.upper()
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}
    exact, found = (logits_of(tmp_path / name, TOKENS) for name in ("exact.gguf", "model.gguf"))
    assert 0 < np.abs(exact - found).max() < {"f16": 0.01, "bf16": 0.1, "q8_0": 0.2}[quant]


def test_bfloat16_becomes_the_same_float16_as_the_float32_that_it_stands_for(checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    brain = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(checkpoint / "model.safetensors").items()}
    brain["model.embed_tokens.weight"][0, 0] = 1e30
    made = {}
    for name, kind in (("brain", torch.bfloat16), ("wide", torch.float32)):
        folder = tmp_path / name
        shutil.copytree(checkpoint, folder)
        save_file({key: tensor.to(kind) for key, tensor in brain.items()}, folder / "model.safetensors")
        warnings = convert(folder, tmp_path / f"{name}.gguf", "f16").warnings
        made[name] = [tensor.data.tobytes() for tensor in gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors], warnings
    assert made["brain"] == made["wide"]
    assert "too large for the type" in made["brain"][1][0]


def test_every_bfloat16_is_encoded_and_what_is_lost_is_told() -> None:
    import torch

    bits = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 256)
    wanted = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).to(torch.float16)
    found = encoded(bits, "BF16", 0.0, Kind.F16)
    assert np.array_equal(found.data, wanted.numpy(), equal_nan=True)
    assert found.strange
    finite, small = bits[(bits & 0x7FFF) < 0x7F80].reshape(1, -1), bits[(bits & 0x7FFF) < 0x4780].reshape(1, -1)
    assert not encoded(finite, "BF16", 0.0, Kind.F16).strange
    assert encoded(finite, "BF16", 0.0, Kind.F16).large
    assert not encoded(small, "BF16", 0.0, Kind.F16).large


@pytest.mark.parametrize("stored", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0])
@pytest.mark.parametrize("plus", [0.0, 1.0])
def test_no_number_that_is_none_goes_over_unseen(stored: str, kind: Kind, plus: float) -> None:
    rows = np.ones((2, 64), dtype=np.float32)
    for number, strange in ((2.0, False), (np.nan, True), (np.inf, True), (-np.inf, True)):
        rows[1, 33] = number
        block = {"F32": rows, "F16": rows.astype(np.float16), "BF16": (rows.view(np.uint32) >> 16).astype(np.uint16)}
        assert encoded(block[stored], stored, plus, kind).strange is strange
    rows[1, 33] = 1e8
    large = encoded(rows, "F32", plus, kind)
    assert (large.strange, large.large) == (False, kind in (Kind.F16, Kind.Q8_0))


def test_the_file_tells_where_it_came_from(checkpoint: Path, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint, tmp_path / "m.gguf", "f16", Source("hf:someone/model", "abc123"), lambda *_: None)
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["umi_local.convert.source"].contents() == "hf:someone/model"
    assert fields["umi_local.convert.revision"].contents() == "abc123"
    sums = {line.split("  ")[1]: line.split("  ")[0] for line in fields["umi_local.convert.sha256"].contents()}
    assert sums == {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in sums}
    assert list(sums) == [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ]
    assert "<|im_start|>" in fields["tokenizer.chat_template"].contents()


def test_a_checkpoint_in_parts_gives_the_same_file(tmp_path: Path) -> None:
    model = save_model(tmp_path / "whole", "qwen3-moe")
    save_tokenizer(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts/model.safetensors").unlink()
    model.save_pretrained(tmp_path / "parts", max_shard_size="100KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    for name in ("whole", "parts"):
        convert(tmp_path / name, tmp_path / f"{name}.gguf")
    one, other = (gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors for name in ("whole", "parts"))
    held = {tensor.name: tensor.data for tensor in other}
    assert {tensor.name for tensor in one} == set(held)
    assert all(np.array_equal(tensor.data, held[tensor.name]) for tensor in one)


def test_every_tensor_is_streamed(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of a few rows the file is the same byte for byte, so no step needs a whole tensor at once."""
    convert(checkpoint, tmp_path / "one.gguf", "q8_0")
    monkeypatch.setattr(weights, "BLOCK_BYTES", 2000)
    convert(checkpoint, tmp_path / "two.gguf", "q8_0")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()


def edit(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, **changes}))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def in_parts(folder: Path) -> None:
    """An index that promises a second file."""
    index = {
        "weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", "lm_head.weight": "model.safetensors"}
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def twice(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model-2.safetensors")


def header_twice(folder: Path) -> None:
    header = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def huge_merges(folder: Path) -> None:
    with (folder / "merges.txt").open("wb") as file:
        file.truncate(50_000_000)


def step(folder: Path, part: str, value: Any) -> None:
    edit(folder / "tokenizer.json", **{part: value})


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


BAD: dict[str, tuple[Callable[[Path], object], type[UmiError], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), ModelMissing, "no config.json"),
    "config no JSON": (lambda f: (f / "config.json").write_text("{"), ModelCorrupt, "not JSON"),
    "unknown": (lambda f: edit(f / "config.json", architectures=["NewForCausalLM"]), UsageError, "Known are: Llama"),
    "code": (
        lambda f: edit(f / "config.json", architectures=["Evil"], auto_map={"AutoModel": "evil.Model"}),
        UsageError,
        "never run here\\. Convert",
    ),
    "quantised": (lambda f: edit(f / "config.json", quantization_config={"quant_method": "gptq"}), UsageError, "gptq"),
    "pickle": (pickled, UsageError, "pickles"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ModelMissing, "no safetensors"),
    "missing part": (in_parts, ModelMissing, "model-00002-of-00002.safetensors"),
    "cut short": (cut, ModelCorrupt, "cut short: 100 of"),
    "two files": (twice, ModelCorrupt, "is in model-2.safetensors and in model.safetensors"),
    "twice": (header_twice, ModelCorrupt, "twice"),
    "lacks one": (lambda f: rewrite(f, lambda t: t.pop("model.layers.1.mlp.up_proj.weight")), ModelCorrupt, "Layer 1"),
    "foreign": (lambda f: rewrite(f, lambda t: t.update(new=t["model.norm.weight"])), ModelCorrupt, "'new'"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), ModelMissing, "tokenizer.json"),
    "no output layer": (lambda f: rewrite(f, lambda t: t.pop("lm_head.weight")), ModelCorrupt, "lm_head"),
    "rotated part": (lambda f: edit(f / "config.json", partial_rotary_factor="half"), ModelCorrupt, "partial_rotary"),
    "rotated none": (lambda f: edit(f / "config.json", partial_rotary_factor=-1), ModelCorrupt, "rotates -16 of 16"),
    "template": (lambda f: edit(f / "tokenizer_config.json", chat_template="\ud800"), ModelCorrupt, "cannot be right"),
    "long factors": (lambda f: edit(f / "config.json", rope_parameters={"rope_type": "longrope"}), UsageError, "Phi-3"),
    "huge merges": (huge_merges, ModelCorrupt, "merges.txt has"),
    "heads": (lambda f: edit(f / "config.json", num_attention_heads="many"), ModelCorrupt, "num_attention_heads"),
    "rope": (lambda f: edit(f / "config.json", rope_parameters={"rope_type": "new"}), UsageError, "rotary scaling"),
    "vocabulary": (lambda f: edit(f / "config.json", vocab_size=100), ModelCorrupt, "number|token"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_a_sentence_and_no_file(case: str, spoilt: Path, tmp_path: Path) -> None:
    spoil, kind, words = BAD[case]
    spoil(spoilt)
    (tmp_path / "out").mkdir()
    with pytest.raises(kind, match=words):
        convert(spoilt, tmp_path / "out/model.gguf")
    assert list((tmp_path / "out").iterdir()) == []


ODD: list[Any] = [None, True, -1, 0, 1.5, "x", [], {}, [1], {"a": 1}, 2**70, [None], [[1, 2]]]


def test_values_of_other_kinds_than_expected_give_sentences(spoilt: Path, tmp_path: Path) -> None:
    def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        inside = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
        for key, held in inside:
            yield from places(held, (*above, key))
        yield above

    chance = random.Random(4)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        original = (spoilt / name).read_text()
        known = [place for place in places(json.loads(original)) if place]
        for _ in range(60):
            changed = json.loads(original)
            *way, last = chance.choice(known)
            held = changed
            for key in way:
                held = held[key]
            held[last] = chance.choice(ODD)
            (spoilt / name).write_text(json.dumps(changed))
            with contextlib.suppress(UmiError):
                convert(spoilt, tmp_path / "model.gguf")
            (tmp_path / "model.gguf").unlink(missing_ok=True)
        (spoilt / name).write_text(original)


def test_a_tokenizer_that_cuts_in_another_way_needs_a_name(spoilt: Path, tmp_path: Path) -> None:
    text = (spoilt / "tokenizer.json").read_text()
    (spoilt / "tokenizer.json").write_text(text.replace(r"\\p{N}|", r"\\p{N}{2}|", 1))
    with pytest.raises(UsageError, match="--pre NAME"):
        convert(spoilt, tmp_path / "model.gguf")
    convert(spoilt, tmp_path / "model.gguf", pre="qwen2")
    assert gguf.GGUFReader(tmp_path / "model.gguf").fields["tokenizer.ggml.pre"].contents() == "qwen2"


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("normalizer", {"type": "Lowercase"}, "rewritten by Lowercase"),
        (
            "normalizer",
            {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "StripAccents"}]},
            "StripAccents",
        ),
        ("pre_tokenizer", {**BYTES, "add_prefix_space": True}, "a space before the text"),
        (
            "pre_tokenizer",
            {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": r"\d"}, "behavior": "Removed", "invert": False},
                    BYTES,
                ],
            },
            "the next one Removed",
        ),
    ],
)
def test_what_a_tokenizer_does_besides_is_not_passed_over(
    part: str, value: Any, words: str, spoilt: Path, tmp_path: Path
) -> None:
    step(spoilt, "pre_tokenizer", BYTES)
    convert(spoilt, tmp_path / "plain.gguf")
    step(spoilt, part, value)
    with pytest.raises(UsageError, match=words):
        convert(spoilt, tmp_path / "model.gguf")


def test_code_beside_a_class_that_is_known_is_passed_over(spoilt: Path, tmp_path: Path) -> None:
    edit(spoilt / "config.json", auto_map={"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"})
    convert(spoilt, tmp_path / "model.gguf")


def test_old_and_foreign_files_beside_a_tokenizer_do_no_harm(spoilt: Path, tmp_path: Path) -> None:
    edit(spoilt / "config.json", pad_token_id=-1)
    (spoilt / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")  # as Meta's for Llama 3
    convert(spoilt, tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert "tokenizer.ggml.padding_token_id" not in fields
    assert fields["tokenizer.ggml.model"].contents() == "gpt2"


def test_what_llama_cpp_ignores_is_warned_of(spoilt: Path, tmp_path: Path) -> None:
    edit(spoilt / "config.json", sliding_window=4096, rope_parameters={"rope_type": "dynamic", "factor": 2.0})
    warnings = convert(spoilt, tmp_path / "model.gguf").warnings
    assert [warning.split()[2] for warning in warnings] == ["sliding_window", "rope_type"]


def test_memory_does_not_grow_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of 48 MB pass through in blocks of 1 MB, of which a few are on their way at a time."""
    import tracemalloc

    save_model(tmp_path / "model", "llama", num_hidden_layers=1, intermediate_size=187_500)
    save_tokenizer(tmp_path / "model")
    monkeypatch.setattr(weights, "BLOCK_BYTES", 1 << 20)
    for quant in ("f32", "f16", "bf16"):
        tracemalloc.start()
        convert(tmp_path / "model", tmp_path / f"{quant}.gguf", quant)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24_000_000


def test_an_output_that_is_there_is_not_touched(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        convert(checkpoint, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_text() == "mine"


def test_a_full_disk_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            convert(checkpoint, tmp_path / "model.gguf")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_none_are_told(spoilt: Path, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["model.norm.weight"][3] = np.nan
        tensors["lm_head.weight"][0, 0] = 1e6

    rewrite(spoilt, spoil)
    warnings = " ".join(convert(spoilt, tmp_path / "model.gguf", "f16").warnings)
    assert "output_norm.weight" in warnings
    assert "'output.weight': use f32" in warnings
    for quant in ("bf16", "q8_0"):
        assert "output_norm.weight" in " ".join(convert(spoilt, tmp_path / f"{quant}.gguf", quant).warnings)


def test_every_architecture_is_tried_here() -> None:
    known = {entry.gguf for entry in ARCHITECTURES.values()}
    names = {"qwen3_moe": "qwen3moe", "gemma3_text": "gemma3", "mistral": "llama", "mixtral": "llama"}
    assert known == {names.get(kind, kind) for kind, _ in MODELS.values()}


def test_mutated_checkpoints_give_sentences_quickly(checkpoint: Path, tmp_path: Path) -> None:
    """A few hundred of the 20,000 that tests/measure/fuzz_headers.py runs."""
    from umi_local.convert.checkpoint import Checkpoint

    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    chance = random.Random(5)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        original = (folder / name).read_bytes()
        for _ in range(120):
            data = bytearray(original)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(min(len(data), 3000))] = chance.randrange(256)
            (folder / name).write_bytes(bytes(data))
            started = time.monotonic()
            try:
                convert(folder, tmp_path / "model.gguf")
            except UmiError as error:
                assert str(error)
            assert time.monotonic() - started < 5
            (tmp_path / "model.gguf").unlink(missing_ok=True)
        (folder / name).write_bytes(original)
    assert Checkpoint.open(folder).tensors


def test_biases_of_queries_and_keys_change_places_too(tmp_path: Path) -> None:
    import torch

    model = save_model(tmp_path / "model", "llama", attention_bias=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("proj.bias"):
                parameter += torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "model")
    save_tokenizer(tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "model.gguf")
    with torch.no_grad():
        wanted = model(torch.tensor([TOKENS])).logits[0].numpy()
    assert np.abs(logits_of(tmp_path / "model.gguf", TOKENS) - wanted).max() < 1e-3


YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 128}
DEVIATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "yarn with its own attention factor": ("qwen2", {"rope_parameters": {**YARN, "attention_factor": 1.0}}),
    "yarn with scales": ("qwen2", {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.0}}),
    "long factors with an attention factor": (
        "phi3-long",
        {"rope_parameters": {**MODELS["phi3-long"][1]["rope_parameters"], "attention_factor": 1.3}},
    ),
    "a part of each head rotated": ("phi3", {"partial_rotary_factor": 0.5}),
    "no caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "other layers with a window": (
        "gemma3",
        {"layer_types": ["full_attention" if layer % 2 else "sliding_attention" for layer in range(7)]},
    ),
    "dynamic": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}),
}  # fmt: skip


@pytest.mark.parametrize("case", DEVIATIONS)
def test_what_a_config_says_otherwise_than_most_is_followed(case: str, tmp_path: Path) -> None:
    import torch

    name, changes = DEVIATIONS[case]
    usual, other = (save_model(tmp_path / folder, name, **more) for folder, more in (("usual", {}), ("other", changes)))
    with torch.no_grad():
        for model in (usual, other):
            if case == "no caps":
                model.model.norm.weight *= 400  # logits that a cap of 30 would change
            model.save_pretrained(tmp_path / "model")
        save_tokenizer(tmp_path / "model")
        unlike, wanted = (model(torch.tensor([TOKENS])).logits[0].numpy() for model in (usual, other))
    convert(tmp_path / "model", tmp_path / "model.gguf")
    error = np.abs(logits_of(tmp_path / "model.gguf", TOKENS) - wanted).max()
    scale = np.abs(wanted).max()
    assert error < 1e-3 * scale
    assert np.abs(unlike - wanted).max() > 5e-3 * scale or case == "dynamic"


@pytest.mark.parametrize("changes", [{"norm_topk_prob": False}, {"mlp_only_layers": [1]}, {"decoder_sparse_step": 2}])
def test_a_mixture_of_another_make_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    save_model(tmp_path / "model", "qwen3-moe")
    save_tokenizer(tmp_path / "model")
    edit(tmp_path / "model/config.json", **changes)
    with pytest.raises(UsageError, match=next(iter(changes))):
        convert(tmp_path / "model", tmp_path / "model.gguf")


@pytest.mark.parametrize(("key", "value"), [("num_hidden_layers", 2**31 - 1), ("head_dim", 2**31 - 1)])
def test_numbers_beyond_any_model_are_refused_at_once(key: str, value: int, spoilt: Path, tmp_path: Path) -> None:
    edit(spoilt / "config.json", **{key: value})
    started = time.monotonic()
    with pytest.raises(ModelCorrupt, match="more than any real model"):
        convert(spoilt, tmp_path / "model.gguf")
    assert time.monotonic() - started < 5


def test_json_that_python_would_swell_to_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("w") as file:
        file.write('{"a": [' + "[]," * 6_000_000 + "[]]}")
    with pytest.raises(ModelCorrupt, match="more than any real one"):
        convert(tmp_path, tmp_path / "out.gguf")


def test_a_token_of_another_variant_has_no_row(spoilt: Path, tmp_path: Path) -> None:
    (spoilt / "added_tokens.json").write_text('{"<image>": 600}')
    convert(spoilt, tmp_path / "model.gguf")
    assert len(gguf.GGUFReader(tmp_path / "model.gguf").fields["tokenizer.ggml.tokens"].contents()) == 600
