"""A Hugging Face checkpoint: config.json and safetensors in a folder. Nothing in it is run, and no pickle is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umi_local.errors import ModelCorrupt, ModelMissing, StorageError, UsageError

from .architectures import is_known
from .safetensors import StoredTensor, read_header, shown

# tokenizer.json of a large vocabulary has 35 MB; nothing else comes near.
MAX_TOKENIZER_BYTES = 40_000_000
# Of any other JSON. What Python makes of it may be 24 times as long ("[[],[],...]": some 390 MB then).
MAX_JSON_BYTES = 16_000_000
READ = (
    *("config.json", "generation_config.json", "model.safetensors.index.json"),
    *("chat_template.jinja", "chat_template.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt"),
)
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "consolidated*.pth", "adapter_model.bin")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that was looked through. `config` is config.json, with a text model's own part on top of the rest."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    @property
    def files(self) -> list[Path]:
        """The files that a conversion reads, weights last."""
        return [self.folder / name for name in READ if (self.folder / name).is_file()] + weight_files(self.folder)

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Look through a folder.

        Raises:
            ModelMissing: the folder, its config or a part of its weights is not there.
            ModelCorrupt: a file in it cannot be right.
            UsageError: it has only pickles, or needs code of its own.
        """
        if not folder.is_dir():
            raise ModelMissing(
                f"There is no folder {folder}.", "Name a checkpoint's folder, or hf:OWNER/NAME@REVISION."
            )
        if not (folder / "config.json").is_file():
            if (folder / "adapter_config.json").is_file():
                raise UsageError(f"{folder} is an adapter.", "Convert it with: umi-local convert FOLDER --base FILE")
            raise ModelMissing(
                f"{folder} has no config.json, so it is no Hugging Face checkpoint.",
                "Name the folder that holds config.json and the .safetensors files.",
            )
        config = read_json(folder / "config.json")
        _refuse_code(folder, config)
        tensors: dict[str, StoredTensor] = {}
        for file in weight_files(folder):
            for tensor in read_header(file):
                if tensor.name in tensors:
                    other = tensors[tensor.name].file.name
                    raise ModelCorrupt(f"The tensor {shown(tensor.name)} is in {other} and in {file.name} as well.")
                tensors[tensor.name] = tensor
        _check_index(folder, tensors)
        return cls(folder, _flat(config), tensors)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: those of its index, or all of `model*.safetensors`.

    Raises:
        ModelMissing: there is none, or the index names one that is not there.
        UsageError: the weights are pickles.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_weight_map(index).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ModelMissing(
                f"{index.name} names {missing[0]}{more}, which is not there.", "Fetch the missing parts."
            )
        return [folder / name for name in names]
    if found := weights_of(folder):
        _refuse_gaps(found)
        return found
    if any(any(folder.glob(pattern)) for pattern in _PICKLES):
        raise UsageError(
            f"{folder} holds its weights as pickles, which can run code when they are opened.",
            "Save the model as safetensors where you trust it: model.save_pretrained(FOLDER, safe_serialization=True).",
        )
    raise ModelMissing(f"{folder} has no safetensors file.")


def weights_of(folder: Path) -> list[Path]:
    """The safetensors files of a folder that are a model's and not an adapter's."""
    found = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    return [path for path in found if not path.name.startswith("adapter")]


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """A JSON object from a file of at most so many bytes.

    Raises:
        ModelMissing: there is no such file.
        ModelCorrupt: it is too long or no JSON object.
    """
    try:
        if path.stat().st_size > most:
            raise ModelCorrupt(f"{path.name} has {path.stat().st_size:,} bytes, more than any real one.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelMissing(f"There is no {path.name} in {path.parent}.") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        raise ModelCorrupt(f"{path.name} is not JSON.", "Fetch or copy it again.") from None
    if not isinstance(found, dict):
        raise ModelCorrupt(f"{path.name} is not a JSON object.", "Fetch or copy it again.")
    return found


def _weight_map(index: Path) -> dict[str, str]:
    found = read_json(index).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise ModelCorrupt(f"{index.name} has no weight_map.", "Fetch or copy it again.")
    for file in found.values():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise ModelCorrupt(f"{index.name} names {shown(str(file))}, which is no safetensors file of the folder.")
    return found


def _check_index(folder: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """Each tensor that an index promises is where it says."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    for name, file in _weight_map(index).items():
        if name not in tensors or tensors[name].file.name != file:
            raise ModelCorrupt(f"{index.name} promises {shown(name)} in {file}, which does not have it.")


def _refuse_gaps(files: Sequence[Path]) -> None:
    """Parts are numbered `-00001-of-00003`: without an index a missing one shows in the numbers."""
    totals = {path.stem.rpartition("-of-")[2] for path in files if "-of-" in path.stem}
    for total in totals:
        if total.isdecimal() and len(files) != int(total):
            raise ModelMissing(f"The checkpoint has {len(files)} of {int(total)} parts.", "Fetch the missing parts.")


def _refuse_code(folder: Path, config: Mapping[str, Any]) -> None:
    # Published checkpoints of known classes may have code beside them, which transformers has no need of any more.
    if config.get("auto_map") and not is_known(config):
        raise UsageError(
            f"{folder} needs Python code of its own (auto_map in config.json), which is never run here.",
            "Convert a checkpoint of a known architecture, or run this one with another program.",
        )
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method", "") if isinstance(quantised, dict) else ""
        raise UsageError(
            f"{folder} is quantised already ({shown(str(method))}).",
            "Convert the original: float32, float16 or bfloat16.",
        )


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model of text and pictures keeps what is of the text in a part of its own."""
    text = config.get("text_config")
    return {**config, **text, "architectures": config.get("architectures")} if isinstance(text, dict) else dict(config)
