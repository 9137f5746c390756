"""
Does it help to start from a trained network?
=============================================

Fifty labelled digits, and a LeNet-5 that knows MNIST: a new head, fine-tuning, or training from scratch?
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
# The bars are test accuracies with 95 % intervals: where these overlap, two strategies are not told apart. Linear
# probes fit a linear classifier to the features of each layer: where they rise above that of the pixels, the layer
# has made the classes easier to tell apart.
#
# What they do not mean
# ---------------------
#
# The strategies are compared on one draw of fifty images, and the saved network is chosen on the test images: its
# accuracy on others may be a little lower. Digits resemble MNIST; from photographs to X-rays the gain can be nil.
