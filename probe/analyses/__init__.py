"""One question, one file. The registry finds every analysis that stands in this folder."""

from probe.analyses.registry import catalogue, find

__all__ = ["catalogue", "find"]
