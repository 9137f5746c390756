"""
Do the attributions add up to the score?
========================================

Methods work on tensors too. Integrated gradients promise *completeness*: over all pixels they sum to the difference
between the score of the image and that of the baseline.
"""

import torch

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=4)
pixels, targets = images.pixels(), images.labels

maps = {
    steps: probe.attribution.IntegratedGradients(steps=steps)(
        model, pixels, targets
    )
    for steps in (4, 16, 64)
}
probe.grid(pixels, maps[64], title="Integrated gradients, 64 steps")

# %%
rows = torch.arange(len(pixels))
with torch.inference_mode():
    scores = (
        model.logits(pixels)[rows, targets]
        - model.logits(torch.zeros_like(pixels))[rows, targets]
    )
print(f"differences of scores: {scores.numpy().round(2)}")
for steps, values in maps.items():
    error = (values.sum((1, 2, 3)) - scores).abs() / scores.abs()
    print(f"{steps:3} steps: relative errors {error.numpy().round(4)}")

# %%
# What the picture means
# ----------------------
#
# Pixels in red raise the score above that of the baseline, a black image, and those in blue lower it. The printed
# errors fall with the number of steps of the path: this is how to choose that number.
#
# What it does not mean
# ---------------------
#
# Completeness is bookkeeping. It holds for many ways of dividing the same sum, it depends on the baseline, and
# black pixels of the image get nothing because they are like the baseline, not because they do not matter.
