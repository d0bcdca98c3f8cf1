"""A checkpoint's tokenizer as llama.cpp keeps it: tokens, what they are, and how text is cut before merging.

Three kinds come out: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE, merged by scores) and `t5` (unigram). Merges,
special ids and the chat template are read by gguf's SpecialVocab; no template is ever executed here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf

from umi_local.errors import ModelCorrupt, ModelMissing, UsageError

from .checkpoint import MAX_TOKENIZER_BYTES, READ, read_json
from .pretokenizer import pre_of
from .safetensors import shown
from .sentencepiece_model import Pieces, read_pieces

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_SPACE = "\u2581"
Type = gguf.TokenType


@dataclass
class Vocabulary:
    """Tokens by id with their types, and scores where merging goes by them.

    `space_prefix`: a space is put before a text; `single_spaces`: runs of spaces are shortened to one; `charsmap`:
    SentencePiece's table of characters that are written otherwise; `unknown`: the token of what has none.
    """

    model: str
    pre: str
    tokens: list[bytes]
    types: list[int]
    scores: list[float] | None = None
    space_prefix: bool | None = None
    single_spaces: bool | None = None
    charsmap: bytes = b""
    unknown: int | None = None
    add: dict[str, bool] = field(default_factory=dict)  # of `bos` and `eos`: whether a text gets one
    warnings: list[str] = field(default_factory=list)

    def grow(self, size: int) -> None:
        """Fill up with unused tokens: an embedding may have more rows than there are tokens."""
        for number in range(len(self.tokens), size):
            self.tokens.append(f"[PAD{number}]".encode())
            self.types.append(Type.UNUSED)
            if self.scores is not None:
                self.scores.append(-10000.0)

    def put(self, number: int, token: str, kind: int) -> None:
        """An added token in its place."""
        self.grow(number + 1)
        self.tokens[number], self.types[number] = token.encode(), kind
        if self.scores is not None:
            self.scores[number] = -1000.0


def read_vocabulary(folder: Path, size: int, pre: str = "", space_prefix: bool | None = None) -> Vocabulary:
    """The tokenizer of a folder, filled up to `size` tokens. `pre` names the way of cutting where that is not known.

    Raises:
        ModelMissing: there is none.
        ModelCorrupt: its files cannot be right, or it has more tokens than the model.
        UsageError: it is of a kind that llama.cpp has no counterpart for.
    """
    for name in READ:
        if (folder / name).is_file() and (folder / name).stat().st_size > MAX_TOKENIZER_BYTES:
            raise ModelCorrupt(f"{name} has {(folder / name).stat().st_size:,} bytes, more than any real one.")
    tokenizer: Mapping[str, Any] = {}
    if (folder / "tokenizer.json").is_file():
        tokenizer = read_json(folder / "tokenizer.json", MAX_TOKENIZER_BYTES)
    found = _read(folder, tokenizer, pre)
    for number, token, special in _added(folder, tokenizer):
        if not 0 <= number < size:
            continue  # a token of another variant, such as one for pictures, that this model has no row for
        control = special or _looks_special(token)
        found.put(
            number, token if control else token.replace(_SPACE, " "), Type.CONTROL if control else Type.USER_DEFINED
        )
    if len(found.tokens) > size:
        raise ModelCorrupt(f"The tokenizer has {len(found.tokens):,} tokens, and the model knows {size:,}.")
    found.grow(size)
    if space_prefix is not None:
        found.space_prefix = space_prefix
    found.add = _additions(folder)
    return found


def _read(folder: Path, tokenizer: Mapping[str, Any], pre: str) -> Vocabulary:
    """The trained tokens."""
    pieces = folder / "tokenizer.model"
    if pieces.is_file() and not (tokenizer and _is_tiktoken(pieces)):
        return _of_pieces(read_pieces(pieces))
    if not tokenizer:
        raise ModelMissing(f"{folder} has neither tokenizer.json nor tokenizer.model.")
    return _of_json(tokenizer, pre)


def _is_tiktoken(path: Path) -> bool:
    """Whether it is Meta's file of that name for Llama 3, which holds what tokenizer.json does: base64 and a number."""
    with path.open("rb") as file:
        return re.match(rb"[A-Za-z0-9+/]+=* \d+\n", file.read(200)) is not None


def add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary, folder: Path) -> None:
    """Write a tokenizer with its special tokens, merges and chat template."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if vocabulary.charsmap:
        writer.add_precompiled_charsmap(vocabulary.charsmap)
    if vocabulary.space_prefix is not None:
        writer.add_add_space_prefix(vocabulary.space_prefix)
    if vocabulary.single_spaces is not None:
        writer.add_remove_extra_whitespaces(vocabulary.single_spaces)
    try:
        special = _SpecialVocab(folder, load_merges=vocabulary.model == "gpt2", n_vocab=len(vocabulary.tokens))
        special.add_special_token.update(vocabulary.add)
        if vocabulary.unknown is not None:
            special.special_token_ids.setdefault("unk", vocabulary.unknown)
        special.add_to_gguf(writer, quiet=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # gguf reads these files without looking whether they have the form that they should have.
        raise ModelCorrupt(
            f"The tokenizer's files cannot be right: {shown(str(error))}.", "Fetch them again."
        ) from None


class _SpecialVocab(gguf.SpecialVocab):
    """gguf's reading, but that early conversions of LLaMA number a token that they do not have with -1."""

    def _set_special_token(self, typ: str, tid: Any) -> None:
        if not (type(tid) is int and tid < 0):
            super()._set_special_token(typ, tid)


def _of_json(tokenizer: Mapping[str, Any], pre: str) -> Vocabulary:
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise ModelCorrupt("tokenizer.json has no model.")
    kind = model.get("type") or (
        "BPE" if "merges" in model else "Unigram" if isinstance(model.get("vocab"), list) else ""
    )
    if kind == "Unigram":
        return _of_unigram(tokenizer, model)
    if kind != "BPE":
        raise UsageError(
            f"The tokenizer is of the kind {shown(str(kind))}.", "Known are byte-level BPE, BPE and Unigram."
        )
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(number) is int and number >= 0 for number in vocab.values()):
        raise ModelCorrupt("tokenizer.json has a vocabulary that is no table of numbers.")
    if max(vocab.values(), default=0) >= 1 << 22:
        raise ModelCorrupt("tokenizer.json numbers a token beyond four million.")
    if "ByteLevel" in repr(tokenizer.get("pre_tokenizer")) or "ByteLevel" in repr(tokenizer.get("decoder")):
        return _with(Vocabulary("gpt2", pre or pre_of(tokenizer), [], []), vocab)
    return _merged_by_scores(tokenizer, model, vocab)


def _with(vocabulary: Vocabulary, vocab: Mapping[str, int]) -> Vocabulary:
    """The table's tokens at their numbers; numbers that it skips stay unused."""
    vocabulary.grow(max(vocab.values(), default=-1) + 1)
    for token, number in vocab.items():
        vocabulary.tokens[number], vocabulary.types[number] = token.encode(), Type.NORMAL
    return vocabulary


def _merged_by_scores(tokenizer: Mapping[str, Any], model: Mapping[str, Any], vocab: Mapping[str, int]) -> Vocabulary:
    """SentencePiece's BPE: a token's score is the rank of the first merge that makes it, counted down."""
    found = _with(Vocabulary("llama", "default", [], [], []), vocab)
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(model.get("merges") or ()):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault("".join(pair), rank)
    unknown = model.get("unk_token")
    lowest = -float(len(ranks) + 1)
    scores = [lowest] * len(found.tokens)
    for token, number in vocab.items():
        scores[number] = -float(ranks[token]) if token in ranks else lowest
        if _BYTE.fullmatch(token):
            found.types[number] = Type.BYTE
        elif token == unknown:
            found.types[number] = Type.UNKNOWN
    found.scores, found.space_prefix = scores, _puts_space(tokenizer)
    return found


def _puts_space(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text. Metaspace does so where it does not say otherwise."""
    step = repr(tokenizer.get("pre_tokenizer"))
    metaspace = "Metaspace" in step and "'never'" not in step and "'add_prefix_space': False" not in step
    return metaspace or "'Prepend'" in repr(tokenizer.get("normalizer"))


def _of_unigram(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> Vocabulary:
    entries = model.get("vocab")
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) == 2 for entry in entries):
        raise ModelCorrupt("tokenizer.json has a vocabulary that is no list of tokens with scores.")
    found = Vocabulary("t5", "default", [], [], [], _puts_space(tokenizer))
    for number, (token, score) in enumerate(entries):
        found.put(number, str(token), Type.UNKNOWN if number == model.get("unk_id") else Type.NORMAL)
        if _BYTE.fullmatch(str(token)):
            found.types[number] = Type.BYTE
        assert found.scores is not None
        found.scores[number] = float(score)
    if type(model.get("unk_id")) is int and 0 <= model["unk_id"] < len(entries):
        found.unknown = model["unk_id"]
    found.single_spaces = "' {2,}'" in repr(tokenizer.get("normalizer"))
    if packed := re.search(r"'precompiled_charsmap': '([A-Za-z0-9+/=]+)'", repr(tokenizer.get("normalizer"))):
        try:
            found.charsmap = base64.b64decode(packed[1], validate=True)
        except binascii.Error:
            raise ModelCorrupt("tokenizer.json has a table of characters that is not base64.") from None
    return found


def _of_pieces(pieces: Pieces) -> Vocabulary:
    """SentencePiece's own types are those of llama.cpp."""
    found = Vocabulary("t5" if pieces.unigram else "llama", "default", [], [], [], pieces.space_prefix)
    for number, (token, score, kind) in enumerate(pieces.entries):
        found.put(number, token, kind)
        assert found.scores is not None
        found.scores[number] = score
    if pieces.unigram:
        found.charsmap, found.single_spaces = pieces.charsmap, pieces.single_spaces
    elif pieces.charsmap or pieces.single_spaces:
        found.warnings.append(
            "tokenizer.model rewrites characters or shortens runs of spaces before it merges, which llama.cpp does not:"
            " some texts get other tokens."
        )
    found.unknown = next((number for number, entry in enumerate(pieces.entries) if entry[2] == Type.UNKNOWN), None)
    return found


def _added(folder: Path, tokenizer: Mapping[str, Any]) -> list[tuple[int, str, bool]]:
    """The tokens that were added to the trained ones: number, text, whether it is special. Later files win."""
    found: dict[int, tuple[str, bool]] = {}
    if (folder / "added_tokens.json").is_file():
        found |= {
            number: (token, False)
            for token, number in read_json(folder / "added_tokens.json").items()
            if type(number) is int
        }
    found |= {
        entry["id"]: _token(entry)
        for entry in tokenizer.get("added_tokens") or []
        if isinstance(entry, dict) and type(entry.get("id")) is int
    }
    if (folder / "tokenizer_config.json").is_file():
        named = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
        found |= {int(number): _token(entry) for number, entry in named.items() if number.isdecimal()}
    return [(number, *token) for number, token in sorted(found.items())]


def _token(entry: Mapping[str, Any]) -> tuple[str, bool]:
    return str(entry.get("content", "")), bool(entry.get("special"))


def _looks_special(token: str) -> bool:
    """Tokens that are control tokens in all but the flag, as several published tokenizers have them."""
    if token in ("<pad>", "<mask>", "<2mass>", "[@BOS@]"):
        return True
    return token.startswith(("<|", "<｜", "<unused")) and token.endswith(("|>", "｜>", ">"))


def _additions(folder: Path) -> dict[str, bool]:
    """Whether a text gets a first and a last token, where the files say so in words."""
    if not (folder / "tokenizer_config.json").is_file():
        return {}
    config = read_json(folder / "tokenizer_config.json")
    return {
        name: config[f"add_{name}_token"]
        for name in ("bos", "eos")
        if isinstance(config.get(f"add_{name}_token"), bool)
    }
