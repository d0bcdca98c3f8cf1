"""Bringing models in: a checkpoint or an adapter becomes GGUF, and what is GGUF already is vetted."""
