"""Prompts as data: what is said to the models, in which markup, and what they may write."""
