"""Attribution methods on tensors: `from probe.attribution import GradCAM` is that of `probe.methods.attribution`."""

import sys

import probe.methods.attribution

sys.modules[__name__] = probe.methods.attribution
