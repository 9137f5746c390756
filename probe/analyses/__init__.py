"""Analyses, one file each; the registry finds them."""

from probe.analyses.registry import catalogue, find

__all__ = ["catalogue", "find"]
