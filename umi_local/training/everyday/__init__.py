"""Everyday runs for training: varied requests, the real tools, answers from what they returned."""
