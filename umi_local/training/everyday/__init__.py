"""Everyday runs for training: varied requests, the real tools, answers from what they returned."""

from umi_local.training.everyday.generate import generate

__all__ = ["generate"]
