"""The agent as a server with OpenAI's chat API."""

from umi_local.serve.app import Limits, application, is_loopback
from umi_local.serve.engine import Busy, Engine, Runner

__all__ = ["Busy", "Engine", "Limits", "Runner", "application", "is_loopback"]
