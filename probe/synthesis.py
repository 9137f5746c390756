"""Optimised images: `from probe.synthesis import dream` is that of `probe.methods.synthesis.interface`."""

import sys

import probe.methods.synthesis.interface

sys.modules[__name__] = probe.methods.synthesis.interface
