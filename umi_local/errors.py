"""What a user can put right, as one tree.

    UmiError                  2
    ├── UsageError            2   the command line, a query, an id
    ├── ConfigError           2   a manifest, a settings file, a tool's schema
    ├── StorageError          2   a folder that cannot be read or written
    ├── ContextFull           1   the conversation no longer fits the model's context
    ├── ModelError            3
    │   ├── ModelMissing      3   a model file is not there and could not be fetched
    │   ├── ModelCorrupt      3   a file is truncated, not GGUF, or not the one that was promised
    │   └── ModelFailed       3   llama.cpp failed or its process died
    └── OutOfMemory           4

The numbers are the exit codes of the command line; Ctrl-C is 130. What a *model* gets wrong is never one of these: it
is an error Observation or a StopReason. What *we* get wrong is a traceback.
"""

from __future__ import annotations


class UmiError(Exception):
    """One sentence that says what is wrong, and one that says what to do about it."""

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".strip()


class UsageError(UmiError):
    pass


class ConfigError(UmiError):
    pass


class StorageError(UmiError):
    pass


class ContextFull(UmiError):
    exit_code = 1


class ModelError(UmiError):
    exit_code = 3


class ModelMissing(ModelError):
    pass


class ModelCorrupt(ModelError):
    pass


class ModelFailed(ModelError):
    pass


class OutOfMemory(UmiError):
    exit_code = 4
