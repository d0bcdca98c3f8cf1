"""From config.json to the metadata that llama.cpp reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelCorrupt, UsageError

from .architectures import Architecture
from .safetensors import shown

Value = int | float | str | list[bool]

# Several times what any published model has.
MAX_LAYERS, MAX_HEAD_WIDTH = 4096, 65_536

# config.json's key (other models' names for it behind), GGUF's key.
_WHOLE = (
    (("max_position_embeddings", "n_positions"), "context_length"),
    (("hidden_size",), "embedding_length"),
    (("intermediate_size",), "feed_forward_length"),
    (("num_attention_heads",), "attention.head_count"),
    (("num_key_value_heads",), "attention.head_count_kv"),
)
_MIXTURE = (
    (("num_local_experts", "num_experts"), "expert_count"),
    (("num_experts_per_tok",), "expert_used_count"),
)


class Hyperparameters:
    """A config.json read with its architecture's defaults."""

    def __init__(self, config: Mapping[str, Any], architecture: Architecture) -> None:
        off = {key: value for key, value in architecture.off.items() if config.get(key, value) is None}
        self.config = {**architecture.defaults, **{k: v for k, v in config.items() if v is not None}, **off}
        self.architecture = architecture

    @property
    def layers(self) -> int:
        return self._capped(self.whole("num_hidden_layers"), MAX_LAYERS, "layers")

    @property
    def heads(self) -> int:
        return self.whole("num_attention_heads")

    @property
    def key_heads(self) -> int:
        return self.whole("num_key_value_heads") if "num_key_value_heads" in self.config else self.heads

    @property
    def head_width(self) -> int:
        """Elements of a head."""
        width = self.whole("head_dim") if "head_dim" in self.config else self.whole("hidden_size") // self.heads
        return self._capped(width, MAX_HEAD_WIDTH, "elements of a head")

    def _capped(self, number: int, most: int, what: str) -> int:
        """What is read from a file bounds loops and arrays."""
        if number > most:
            raise ModelCorrupt(f"config.json claims {number:,} {what}, more than any real model has.")
        return number

    def whole(self, *keys: str) -> int:
        """A positive whole number under the first of the keys that is there.

        Raises:
            ModelCorrupt: it is missing or something else.
        """
        value = next((self.config[key] for key in keys if key in self.config), None)
        if type(value) is not int or not 0 < value < 1 << 31:
            raise ModelCorrupt(f"config.json has {keys[0]} = {shown(str(value))}, which is no number of anything.")
        return value

    def number(self, key: str) -> float:
        """A finite number. Raises what `whole` does."""
        value = self.config.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelCorrupt(f"config.json has {key} = {shown(str(value))}, which is no number.")
        return float(value)

    def metadata(self) -> dict[str, Value]:
        """Values by GGUF key, without the architecture's name before them.

        Raises:
            ModelCorrupt: one cannot be right.
            UsageError: llama.cpp computes something in one way only, and this model does it in another.
        """
        for key, value in self.architecture.fixed.items():
            if self.config.get(key, value) != value:
                stated = shown(str(self.config[key]))
                raise UsageError(f"config.json has {key} = {stated}; llama.cpp's {self.architecture.gguf} has no such.")
        found: dict[str, Value] = {"block_count": self.layers}
        for keys, name in (*_WHOLE, *(_MIXTURE if self.architecture.experts else ())):
            if any(key in self.config for key in keys):
                found[name] = self.whole(*keys)
        found.setdefault("attention.head_count_kv", self.key_heads)
        found["attention.layer_norm_rms_epsilon"] = self.number("rms_norm_eps")
        if "head_dim" in self.config and not self.architecture.drop_head_dim:
            found["attention.key_length"] = found["attention.value_length"] = self.head_width
        if self.architecture.vocabulary:
            found["vocab_size"] = self.whole("vocab_size")
        found |= {name: self.number(key) for key, name in self.architecture.floats.items() if key in self.config}
        found |= {name: self.whole(key) for key, name in self.architecture.ints.items() if key in self.config}
        return found | self._window() | self._rotation()

    def warnings(self) -> list[str]:
        """What llama.cpp will not do as the config says, a sentence each."""
        found = [key for key in self.architecture.ignored if self.config.get(key)]
        if self.config.get("query_pre_attn_scalar", self.head_width) not in (
            self.head_width,
            self.whole("hidden_size") // self.heads,
        ):
            found.append("query_pre_attn_scalar")
        stretched = str(self.rotary.get("rope_type", "")).lower()
        if stretched == "dynamic":
            found.append("rope_type")
        if stretched == "yarn":
            usual = {"beta_fast": 32, "beta_slow": 1}
            found += [key for key, value in usual.items() if (self.rotary.get(key) or value) != value]
        values = {**self.config, **self.rotary}
        return [f"config.json has {key} = {shown(str(values[key]))}, which llama.cpp ignores." for key in found]

    def _window(self) -> dict[str, Value]:
        """How far attention reaches back, where a model limits that."""
        way, width = self.architecture.window, self.config.get("sliding_window")
        if way == "always":
            return {"attention.sliding_window": self.whole("sliding_window") if width else 0}
        if not way or not width:
            return {}
        found: dict[str, Value] = {"attention.sliding_window": self.whole("sliding_window")}
        every, kinds = self.architecture.whole_every, self.config.get("layer_types")
        known = [every > 0 and (layer + 1) % every > 0 for layer in range(self.layers)]
        stated = [kind == "sliding_attention" for kind in kinds] if kinds else known
        if len(stated) != self.layers:
            raise ModelCorrupt(f"config.json has {len(stated)} layer_types for {self.layers} layers.")
        if every and stated == known:
            return found
        return found | {"attention.sliding_window_pattern": stated}

    @property
    def rotary(self) -> dict[str, Any]:
        """The rotary embedding's parameters of layers with full attention, whichever way the config states them."""
        stated = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        if not isinstance(stated, dict):
            raise ModelCorrupt("config.json has rotary parameters that are no object.")
        full = stated.get("full_attention", stated)
        named = {"rope_type": full["type"]} if isinstance(full.get("type"), str) else {}
        kept = ("rope_theta", "original_max_position_embeddings", "partial_rotary_factor")
        return {**{key: self.config[key] for key in kept if key in self.config}, **named, **full}

    def _rotation(self) -> dict[str, Value]:
        rotary = Hyperparameters(self.rotary, Architecture(""))
        found: dict[str, Value] = {}
        if "rope_theta" in rotary.config:
            found["rope.freq_base"] = rotary.number("rope_theta")
        sliding = (self.config.get("rope_parameters") or {}).get("sliding_attention") or {}
        key = "rope_theta" if "rope_theta" in sliding else "rope_local_base_freq"
        local = Hyperparameters({**self.config, **sliding}, Architecture(""))
        if key in sliding or key in self.config:
            found["rope.freq_base_swa"] = local.number(key)
        if self.architecture.rotary_width:
            found["rope.dimension_count"] = self._rotated
        return found | _scaling(rotary, self.whole("max_position_embeddings"), self.architecture)

    @property
    def _rotated(self) -> int:
        """How many elements of a head are rotated."""
        part = Hyperparameters({"partial_rotary_factor": 1.0, **self.rotary}, Architecture(""))
        width = int(part.number("partial_rotary_factor") * self.head_width)
        if not 0 < width <= self.head_width:
            raise ModelCorrupt(f"config.json has a partial_rotary_factor that rotates {width} of {self.head_width}.")
        return width

    def rotary_tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """Factors on the rotation's wavelengths that llama.cpp wants as tensors, by name."""
        rotary = self.rotary
        if str(rotary.get("rope_type", "")).lower() == "llama3":
            return {"rope_freqs.weight": _llama3_factors(Hyperparameters(rotary, Architecture("")), self.head_width)}
        if not self.architecture.long_factors or not rotary.get("long_factor"):
            return {}
        width = self._rotated // 2
        factors = {name: np.asarray(rotary.get(f"{name}_factor"), dtype=np.float32) for name in ("long", "short")}
        if any(array.shape != (width,) for array in factors.values()):
            raise ModelCorrupt(f"config.json must have {width} long and as many short rotary factors.")
        return {f"rope_factors_{name}.weight": array for name, array in factors.items()}


def _scaling(rotary: Hyperparameters, context: int, architecture: Architecture) -> dict[str, Value]:
    """How the rotation is stretched for contexts longer than those of the training."""
    kind = str(rotary.config.get("rope_type", "default")).lower()
    found: dict[str, Value] = {}
    if "original_max_position_embeddings" in rotary.config and kind in ("yarn", "longrope", "su"):
        found["rope.scaling.original_context_length"] = rotary.whole("original_max_position_embeddings")
    elif architecture.long_factors:
        found["rope.scaling.original_context_length"] = context
    match kind:
        # "dynamic" stretches only what is longer than the trained context.
        case "default" | "llama3" | "dynamic":
            return found
        case "linear":
            return {"rope.scaling.type": "linear", "rope.scaling.factor": rotary.number("factor")}
        case "yarn":
            factor = rotary.number("factor") if "factor" in rotary.config else context / _original(rotary)
            found |= {"rope.scaling.type": "yarn", "rope.scaling.factor": factor}
            own = _yarn_attention(rotary, factor) / _yarn_scale(factor)
            return found if abs(own - 1) < 1e-6 else found | {"rope.scaling.attn_factor": own}
        case "longrope" | "su" if architecture.long_factors:
            stretch = rotary.number("factor") if "factor" in rotary.config else context / _original(rotary)
            attention = math.sqrt(1 + math.log(stretch) / math.log(_original(rotary))) if stretch > 1 else 1.0
            if "attention_factor" in rotary.config:
                attention = rotary.number("attention_factor")
            return found | {"rope.scaling.type": "longrope", "rope.scaling.attn_factor": attention}
    raise UsageError(
        f"The rotary scaling {shown(kind)} is not known.",
        "Known are: linear, yarn, llama3, dynamic, default, and longrope of Phi-3.",
    )


def _original(rotary: Hyperparameters) -> int:
    return rotary.whole("original_max_position_embeddings")


def _yarn_scale(factor: float, slope: float = 1.0) -> float:
    """What YaRN multiplies queries and keys with. Source: transformers, `_compute_yarn_parameters`."""
    return 0.1 * slope * math.log(factor) + 1 if factor > 1 else 1.0


def _yarn_attention(rotary: Hyperparameters, factor: float) -> float:
    """The same of this model; llama.cpp computes `_yarn_scale(factor)` itself and multiplies that with ours."""
    if "attention_factor" in rotary.config:
        return rotary.number("attention_factor")
    if rotary.config.get("mscale") and rotary.config.get("mscale_all_dim"):
        return _yarn_scale(factor, rotary.number("mscale")) / _yarn_scale(factor, rotary.number("mscale_all_dim"))
    return _yarn_scale(factor)


def _llama3_factors(rotary: Hyperparameters, width: int) -> npt.NDArray[np.float32]:
    """What each rotary frequency is divided by: nothing for short waves, `factor` for long ones, smoothly between."""
    factor, context = rotary.number("factor"), rotary.number("original_max_position_embeddings")
    low, high = rotary.number("low_freq_factor"), rotary.number("high_freq_factor")
    waves = 2 * math.pi * rotary.number("rope_theta") ** (np.arange(0, width, 2, dtype=np.float32) / width)
    smooth = (context / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    return np.where(waves < context / high, 1.0, np.where(waves > context / low, factor, between)).astype(np.float32)


def add_metadata(writer: gguf.GGUFWriter, architecture: Architecture, metadata: Mapping[str, Value]) -> None:
    """Write a checkpoint's hyperparameters."""
    for name, value in metadata.items():
        add_value(writer, f"{architecture.gguf}.{name}", value)


def add_value(writer: gguf.GGUFWriter, key: str, value: Value | Sequence[str]) -> None:
    """Write one value in the type that llama.cpp reads it in."""
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)
