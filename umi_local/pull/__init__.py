"""Model files on this machine: what is there, what is missing, how to get it, and whether it is the right one."""

from umi_local.pull.download import pull
from umi_local.pull.progress import OnProgress, Progress, Stage
from umi_local.pull.store import (
    FileState,
    bytes_to_fetch,
    ensure_verified,
    is_recorded,
    missing,
    path_of,
    remove,
    restored,
    verify,
)

__all__ = [
    "FileState",
    "OnProgress",
    "Progress",
    "Stage",
    "bytes_to_fetch",
    "ensure_verified",
    "is_recorded",
    "missing",
    "path_of",
    "pull",
    "remove",
    "restored",
    "verify",
]
