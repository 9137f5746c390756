"""Attacks on tensors: `from probe.adversarial import PGD` is that of `probe.methods.adversarial`."""

import sys

import probe.methods.adversarial

sys.modules[__name__] = probe.methods.adversarial
