"""
How curved is the loss, and in how many directions?
===================================================

The eigenvalues of the Hessian, by Lanczos iteration, without ever building the matrix.
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
# A few directions are steep, and in nearly all others the loss is flat: moving the weights along them changes
# nothing. The map shows, at points of a plane around the weights, how large the most negative eigenvalue is beside
# the largest one: near zero, the loss is nearly convex there.
#
# What they do not mean
# ---------------------
#
# A large eigenvalue does not mean a bad minimum: scaling the weights of one layer up and those of the next down
# changes eigenvalues and leaves the function as it is. The density is smoothed, and its trace is an estimate with a
# wide interval from so few runs. The Hessian of these images is not that of all images.
