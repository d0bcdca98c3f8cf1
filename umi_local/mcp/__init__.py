"""Tools of MCP servers: which servers there are, what they offered when a person trusted them, and calling them."""

from umi_local.mcp.servers import Server, ServerFile
from umi_local.mcp.tools import Manager, Offer, tools_of, trust, trusted_names

__all__ = ["Manager", "Offer", "Server", "ServerFile", "tools_of", "trust", "trusted_names"]
