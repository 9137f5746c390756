"""The architectures: `architectures()` lists them without torch, `build(name)` builds one."""

from probe.zoo.registry import Architecture, architecture, architectures, build

__all__ = ["Architecture", "architecture", "architectures", "build"]
