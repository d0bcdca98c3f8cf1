"""Engines behind the one seam `umi_local.protocols.Backend`."""
