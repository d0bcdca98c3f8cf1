"""The loaded models, their adapters and caches, and the turns that are written on them. Runs in the child only."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llama_cpp

from umi_local.backends.llama_cpp.context import CancelFlag, Cancelled, Context, shared_prefix
from umi_local.backends.llama_cpp.devices import Device, Size, devices, layers_that_fit
from umi_local.backends.llama_cpp.memory import available_memory, total_memory
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.llama_cpp.spec import ALL_FEATURES, DEFAULT_CONTEXT, Features, ModelSpec
from umi_local.backends.llama_cpp.weights import Adapter, NotLoaded, Weights
from umi_local.backends.llama_cpp.writer import Written, write
from umi_local.convert.vet import GgufHeader, vet_gguf
from umi_local.errors import ContextFull, OutOfMemory
from umi_local.messages import Completion, Constraint, Role, Sampling, Segment, Usage

_LOOKS, _LOOK_BYTES = 16, 1 << 16  # places of a file, from its first to its last byte
_LIMIT_READ, _LIMIT_WRITE = 512, 64  # tokens, as llama-bench's defaults


class Engine:
    """The loaded models and their caches; one of each file, however many roles play on it.

    Args:
        specs: the files of each role.
        snapshots: where the beginnings of trunks are kept between processes.
        features: what makes writing cheap.
        tuning: where measured thread counts are kept.
        memory: bytes that models and caches may take together; 0 for four fifths of the machine's.
    """

    def __init__(
        self,
        specs: Mapping[Role, ModelSpec],
        snapshots: Snapshots | None = None,
        features: Features = ALL_FEATURES,
        tuning: Path | None = None,
        memory: int = 0,
    ) -> None:
        self.cancel = CancelFlag()
        self._snapshots = snapshots if features.sharing else None
        self._features = features
        self._tuning = tuning
        self._specs = specs
        self._weights: dict[str, Weights] = {}
        self._contexts: dict[tuple[str, str | None], Context] = {}
        self._memory = memory or int(0.8 * total_memory())
        self._notes: list[str] = []
        self._told: set[str] = set()
        self._most_layers: dict[str, int] = {}  # on a GPU, where more were tried in vain

    def describe(self, role: Role) -> dict[str, Any]:
        return asdict(self._weights_of(role).info(self._context_tokens(role)))

    def count(self, role: Role, text: str) -> int:
        return self._weights_of(role).count(text)

    def complete(
        self,
        role: Role,
        trunk: list[Segment],
        suffix: list[Segment],
        constraint: Constraint | None,
        sampling: Sampling,
        on_text: Any,
        constant: int = 0,
        recorded: str | None = None,
    ) -> Completion:
        """Write a turn, which is `recorded` if that is given.

        The first `constant` segments of the trunk are worth keeping between processes.
        """
        before_load = time.monotonic()
        try:
            context, adapter = self._context_of(role)
        except Cancelled:
            return Completion("", finished=False)
        started = time.monotonic()
        trunk_ids, suffix_ids = self._tokens(role, trunk, suffix)
        if len(trunk_ids) + len(suffix_ids) + sampling.max_tokens > context.tokens:
            constant_ids = self._weights_of(role).tokenize(trunk[:constant])
            if len(constant_ids) + len(suffix_ids) + sampling.max_tokens > context.tokens:
                raise ContextFull(
                    f"The tools and worked examples alone need {len(constant_ids)} tokens, and the context has"
                    f" {context.tokens}, {sampling.max_tokens} of them for a turn.",
                    "Name fewer tools with --tools, raise context in config.toml, or use another model.",
                )
            raise ContextFull(
                f"The conversation needs {len(trunk_ids) + len(suffix_ids) + sampling.max_tokens} tokens and the"
                f" context has {context.tokens}.",
                "Start a new session or ask in smaller parts.",
            )
        activated = adapter is not None and adapter.activated
        beginning = shared_prefix(trunk_ids, self._weights_of(role).tokenize(trunk[:constant]) if constant else [])
        if not self._features.sharing:
            context.forget()
        try:
            reused = context.advance_trunk(trunk_ids, None if activated else adapter, beginning)
            context.fork(adapter)
            written = write(context, suffix_ids, constraint, sampling, self.cancel, on_text, self._features, recorded)
        except Cancelled:
            reused, written = 0, Written()
        finally:
            context.drop_fork()
        usage = Usage(
            trunk=len(trunk_ids),
            evaluated=len(trunk_ids) - reused + written.evaluated,
            reused=reused,
            sampled=written.sampled,
            forced=written.forced,
            drafted=written.drafted,
            accepted=written.accepted,
            seconds=time.monotonic() - started,
            load_seconds=started - before_load,
        )
        notes, self._notes = tuple(self._notes), []
        return Completion(written.text, written.finished, usage, notes)

    def limits(self, role: Role) -> dict[str, Any]:
        """What the machine does with no agent around it: a batch read, and single tokens written."""
        context, _ = self._context_of(role)
        context.forget()
        read, write = context.speed(read=_LIMIT_READ, write=_LIMIT_WRITE)
        return {"read": read, "write": write, "cache_bytes": context.cache_bytes, "threads": asdict(context.threads)}

    def _tokens(self, role: Role, trunk: list[Segment], suffix: list[Segment]) -> tuple[list[int], list[int]]:
        weights = self._weights_of(role)
        trunk_ids = weights.tokenize(trunk)
        start = len(weights.tokenize([]))  # a beginning-of-text token belongs to the trunk alone
        return trunk_ids, weights.tokenize(suffix)[start:]

    def _weights_of(self, role: Role) -> Weights:
        spec = self._specs[role]
        if spec.model not in self._weights:
            self._make_room_for(Path(spec.model))
            self._weights[spec.model] = self._load(spec)
        return self._weights[spec.model]

    def _load(self, spec: ModelSpec) -> Weights:
        """The model, with as many layers on a GPU as are asked for and fit: a step down after every failure."""
        layers, notes = gpu_layers_of(spec, devices())
        self._note(*notes)
        self._check_memory(spec, layers)
        wanted = layers
        layers = min(layers, self._most_layers.get(spec.model, layers))
        while True:
            try:
                loaded = Weights(spec.model, layers)
            except NotLoaded:
                if not layers:
                    raise
                layers //= 2
                continue
            if layers < wanted:
                self._note(f"{wanted} layers do not fit into the GPU's memory, but {layers} do.")
            return loaded

    def _check_memory(self, spec: ModelSpec, layers: int) -> None:
        """What is not offloaded has to fit into the machine's memory: mapped or not, every token needs all of it."""
        needed, free = Path(spec.model).stat().st_size, available_memory()
        if layers:
            needed = int(needed * (1 - layers / size_of(vet_gguf(Path(spec.model)), 0).layers))
        if free and needed > free:
            raise OutOfMemory(
                f"{spec.model} needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free.",
                "Choose a smaller model or close other programs.",
            )

    def _note(self, *notes: str) -> None:
        """Something for the user, said once in the life of a process."""
        new = [note for note in notes if note not in self._told]
        self._notes += new
        self._told.update(new)

    def _make_room_for(self, model: Path) -> None:
        """Unload the other models if they and this one are too large together."""
        held = sum(Path(path).stat().st_size for path in self._weights)
        caches = sum(context.cache_bytes for context in self._contexts.values())
        if not self._weights or held + caches + model.stat().st_size <= self._memory:
            return
        self._note("The roles' models do not fit into memory together, so they are loaded in turn, which takes longer.")
        for other in list(self._weights):
            self._unload(other)

    def _context_of(self, role: Role) -> tuple[Context, Adapter | None]:
        spec = self._specs[role]
        while True:
            weights = self._weights_of(role)
            adapter = weights.adapter(spec.adapter)
            key = (spec.model, None if adapter is None or adapter.activated else adapter.path)
            try:
                if key not in self._contexts:
                    self._contexts[key] = self._new_context(role, weights, key[1])
                return self._contexts[key], adapter
            except OutOfMemory:
                if not weights.gpu_layers:
                    raise
                # The weights fitted the GPU and their cache does not: fewer layers leave it room.
                self._most_layers[spec.model] = weights.gpu_layers // 2
                self._unload(spec.model)

    def _unload(self, model: str) -> None:
        for key in [key for key in self._contexts if key[0] == model]:
            self._contexts.pop(key).close()
        self._weights.pop(model).close()

    def _new_context(self, role: Role, weights: Weights, adapter: str | None) -> Context:
        spec, tokens = self._specs[role], self._context_tokens(role)
        if spec.context_tokens > tokens:
            told = f"{Path(spec.model).name} was trained for {tokens:,} tokens, so its context holds no more."
            self._note(told)
        identity = {
            "model": spec.identity or file_identity(spec.model),
            "adapter": file_identity(adapter) if adapter else None,
            "gpu_layers": weights.gpu_layers,
        }
        place = self.cancel, self._snapshots, identity
        context = Context(weights, tokens, spec.threads, *place, read_threads=spec.read_threads)
        if self._tuning and not spec.threads:
            try:
                context.tune(self._tuning, identity)
            except Cancelled:
                context.close()
                raise
        return context

    def _context_tokens(self, role: Role) -> int:
        trained: int = llama_cpp.llama_model_n_ctx_train(self._weights_of(role).handle)
        return min(self._specs[role].context_tokens or DEFAULT_CONTEXT, trained)


def gpu_layers_of(spec: ModelSpec, found: Sequence[Device]) -> tuple[int, list[str]]:
    """How many layers to offload, and what the user should know of it."""
    if not any(device.is_gpu for device in found):
        told = "The installed llama.cpp finds no GPU, so no layers are offloaded."
        return 0, [told] if spec.gpu_layers else []
    size = size_of(vet_gguf(Path(spec.model)), spec.context_tokens or DEFAULT_CONTEXT)
    if spec.gpu_layers is None:
        return layers_that_fit(size, found), []
    if spec.gpu_layers > size.layers:
        return size.layers, [f"{Path(spec.model).name} has {size.layers} layers; all of them are offloaded."]
    return spec.gpu_layers, []


def size_of(header: GgufHeader, context_tokens: int) -> Size:
    """What a model of this header takes, with a cache of so many tokens in 16 bits."""

    def number(key: str, default: int) -> int:
        value = header.metadata.get(f"{header.architecture}.{key}", default)
        return value if isinstance(value, int) and value > 0 else default

    heads = number("attention.head_count", 1)
    width = number("attention.key_length", number("embedding_length", 0) // heads)
    keys = number("attention.head_count_kv", heads) * width
    return Size(number("block_count", 1) + 1, header.tensor_bytes, 2 * 2 * keys * context_tokens)


def file_identity(path: str) -> list[object]:
    """What tells a file's content from another's without reading it all: its place, size, time and some of its bytes.

    Another fine-tune of the same size may be unpacked or linked into its place with the same time; all of it differs.
    """
    status = Path(path).stat()
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for number in range(_LOOKS):
            file.seek(max(0, status.st_size - _LOOK_BYTES) * number // (_LOOKS - 1))
            digest.update(file.read(_LOOK_BYTES))
    return [str(Path(path).absolute()), status.st_size, status.st_mtime_ns, digest.hexdigest()]
