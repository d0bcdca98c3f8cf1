"""Tools as typed functions: what a model is told of them, what they may touch, who approves."""

from umi_local.toolbox.approval import Approval, ApprovalRequest
from umi_local.toolbox.box import LocalToolbox
from umi_local.toolbox.tool import Effect, Tool, ToolContext, ToolError, tool
from umi_local.toolbox.workspace import Workspace

__all__ = [
    "Approval",
    "ApprovalRequest",
    "Effect",
    "LocalToolbox",
    "Tool",
    "ToolContext",
    "ToolError",
    "Workspace",
    "tool",
]
