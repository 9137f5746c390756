"""
How curved is the loss, and in how many directions?
===================================================

The largest eigenvalues of the Hessian are computed by Lanczos iteration, without forming the matrix.
"""

import probe

model = probe.load("lenet5-digits")
images = probe.images("digits:test")
result = probe.run(
    "curvature",
    model,
    images,
    top=3,
    steps=20,
    runs=2,
    max_images=60,
    plane_points=5,
    plane_images=40,
)
result["Spectral density of the Hessian"]

# %%
result["Eigenvalues of the Hessian"]

# %%
result["Ratio of negative to positive curvature"]

# %%
# What the pictures mean
# ----------------------
#
# The loss is steep in a few directions and flat in nearly all others, along which the weights can be changed
# with little effect. The map shows, on a plane around the weights, the magnitude of the most negative
# eigenvalue relative to the largest one: where it is near zero, the loss is nearly convex.
#
# What they do not mean
# ---------------------
#
# A large eigenvalue does not mean a bad minimum: if the weights of one layer are scaled up and those of the
# next one down, the eigenvalues change but the function does not. The density is smoothed, and with so few runs
# the interval of its trace is wide. The Hessian is that of these images, not of all images.
