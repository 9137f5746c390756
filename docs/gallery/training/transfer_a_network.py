"""
Does it help to start from a pretrained network?
================================================

Given fifty labelled digits and a LeNet-5 that was trained on MNIST, which is best: a new head, fine-tuning, or
training from scratch?
"""

import tempfile
from pathlib import Path

import probe
from probe.exhibits.storage import load

with tempfile.TemporaryDirectory() as folder:
    probe.transfer(
        "lenet5-mnist", "digits", out=f"{folder}/mine", n=50, epochs=20, quiet=True
    )
    result = load(Path(folder) / "mine" / "transfer")
result["Four transfer strategies"]

# %%
result["Linear probes"]

# %%
# What the pictures mean
# ----------------------
#
# The bars are test accuracies with 95 % intervals; strategies whose intervals overlap may not differ. A linear
# probe is a linear classifier that is fitted to the features of a layer: where its accuracy exceeds that on the
# pixels, the layers up to there have made the classes easier to separate.
#
# What they do not mean
# ---------------------
#
# The strategies are compared on a single sample of fifty images, and the saved network is selected by its
# accuracy on the test images, so its accuracy on others may be slightly lower. These digits resemble those of
# MNIST; from photographs to X-rays, nothing may be gained.
