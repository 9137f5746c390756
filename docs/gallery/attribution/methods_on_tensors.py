"""
Do the attributions add up to the score?
========================================

Methods can be applied to tensors as well. Integrated gradients have the property of *completeness*: their sum
over all pixels is the difference between the score of the image and that of the baseline.
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
# Red pixels raise the score above that of the baseline, a black image; blue pixels lower it. The printed errors
# decrease with the number of steps along the path, which is how to choose that number.
#
# What it does not mean
# ---------------------
#
# Completeness does not make an attribution correct. Many ways of dividing the same sum are complete, the
# attribution depends on the baseline, and black pixels receive nothing because they equal the baseline, not
# because they are unimportant.
