"""How close the agent comes to what this machine can do: recorded runs replayed with each feature on and off."""

from umi_local.bench.measure import Bench, bench

__all__ = ["Bench", "bench"]
