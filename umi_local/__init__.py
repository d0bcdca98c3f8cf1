"""umi-local: a private agent for a laptop, made of small models that use tools well."""

__version__ = "0.1.0"
