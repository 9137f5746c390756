"""
Is a residual network a collection of many short paths?
=======================================================

Every residual block can be passed through or skipped, so nine blocks make 512 paths. A small ResNet is trained
on digits for this example, which takes most of the time.
"""

import tempfile

import probe

with tempfile.TemporaryDirectory() as folder:
    model = probe.train(
        "resnet20", "digits", out=f"{folder}/resnet20", epochs=3, quiet=True
    )
images = probe.images("digits:test", n=60)
result = probe.run(
    "residual-paths",
    model,
    images,
    path_images=8,
    samples=3,
    draws=2,
    most_deleted=4,
)
result["Paths by length"]

# %%
result["One block deleted"]

# %%
print(
    *(f"{number.label}: {number}" for number in result.numbers.values()), sep="\n"
)
print(*(f"warning: {warning}" for warning in result.warnings), sep="\n")

# %%
# What the pictures mean
# ----------------------
#
# The number of paths of each length follows a binomial distribution. The gradient along the paths is measured;
# here it is distributed over the lengths as the paths are. Without one of the first blocks, the network no
# longer works; without one of the last blocks, its
# error rises by a few percentage points.
#
# What they do not mean
# ---------------------
#
# This network is shallow and was trained briefly. In deep networks that were trained for long, most of the
# gradient comes from short paths, and nearly any block can be deleted. That is a finding about such networks,
# not a law of the architecture. As the warning says, compare the effect of deleted blocks with that in a plain
# network of the same depth.
