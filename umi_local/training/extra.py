"""What training needs beside the base install."""

from __future__ import annotations

from umi_local.errors import UsageError


def need_the_extra() -> None:
    """Raises UsageError where the packages that train are not installed."""
    try:
        import accelerate  # noqa: F401
        import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"Training needs more than is installed ({error.name} is missing).", "Run: pip install 'umi-local[train]'"
        ) from None
