"""How a role's model is to be loaded, as a value that crosses the process boundary."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One role's files and the machine's share of them.

    `context_tokens` 0 takes the model's own training length, bounded by `DEFAULT_CONTEXT`. `threads` 0 takes as many as
    are measured to be fastest, or one per core where nothing is measured; `read_threads` are those for reading many
    tokens at once, 0 as many. `gpu_layers` is how many layers to offload, None as many as fit into the GPU's free
    memory. `identity` tells the model's content from any other's, as its hash does; without one its path, size and time
    must serve.
    """

    model: str
    adapter: str | None = None
    _: KW_ONLY
    context_tokens: int = 0
    threads: int = 0
    read_threads: int = 0
    gpu_layers: int | None = 0
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Features:
    """What makes writing cheap; each can be switched off to see what it brings.

    `sharing`: a turn reads only what the cache does not hold. `forcing`: tokens that a grammar forces are taken without
    being sampled. `drafting`: copied text is proposed from the prompt and verified in one batch.
    """

    sharing: bool = True
    forcing: bool = True
    drafting: bool = True


ALL_FEATURES = Features()
DEFAULT_CONTEXT = 8192
