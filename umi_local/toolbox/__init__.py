"""Tools as typed functions: what a model is told of them, what they may touch, who approves."""

from umi_local.toolbox.approval import Approval, ApprovalRequest, taint_of
from umi_local.toolbox.audit import AuditLog
from umi_local.toolbox.box import LocalToolbox
from umi_local.toolbox.journal import Journal
from umi_local.toolbox.policy import Policy, Rule, Ruling, policy_of
from umi_local.toolbox.stopping import Stopped, waited_for
from umi_local.toolbox.tool import Effect, Tool, ToolContext, ToolError, tool
from umi_local.toolbox.workspace import PROJECT_FILE, Workspace

__all__ = [
    "PROJECT_FILE",
    "Approval",
    "ApprovalRequest",
    "AuditLog",
    "Effect",
    "Journal",
    "LocalToolbox",
    "Policy",
    "Rule",
    "Ruling",
    "Stopped",
    "Tool",
    "ToolContext",
    "ToolError",
    "Workspace",
    "policy_of",
    "taint_of",
    "tool",
    "waited_for",
]
