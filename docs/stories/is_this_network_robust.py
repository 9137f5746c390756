"""
Is this network robust?
=======================

An engineer has to say whether a model may be shipped, and the model is ``lenet5-digits``: LeNet-5 on handwritten
digits. Its accuracy is high. This page asks what a small change of the pixels does to it, which of the figures may be
believed, and what remains to be said.
"""

import probe

model = probe.load("lenet5-digits", device="cpu")
images = probe.images("digits:test", n=100)
accuracy = probe.run("classify", model, images)
print("accuracy", accuracy.numbers["accuracy"])
print("expected calibration error", accuracy.numbers["expected_calibration_error"])

# %%
# Chance first
# ------------
#
# A change of the pixels may come from an adversary, or it may be the noise of another scanner. Random signs of size eps
# are an example of the second, one step along the gradient of the loss is the simplest example of the first. The radius
# 0.1 is a tenth of the range from black to white: 25 grey levels, which everybody sees and nobody is misled by.

step = probe.run("fgsm", model, images, eps=0.1, eps_steps=6)
step["Accuracy against eps"]

# %%
# Noise costs next to nothing. One step along the gradient costs most of the accuracy. So the network is stable against chance
# and not against intent, and any statement about robustness has to say which of the two is meant.

step["Attacked images"]

# %%
# How bad is it?
# --------------
#
# One step is the weakest of all gradient attacks. ``robustness`` runs several, attacks what is left with stronger ones,
# and counts an image as robust only if none of them fools it.

result = probe.run("robustness", model, images, eps=0.1, targets_per_class=1)
result["Accuracy against the size of the perturbation"]

# %%
# The accuracy that matters is the last one of these, and it is an upper bound: a further attack may lower it, none can
# raise it.

for key in ("accuracy_clean", "accuracy_pgd", "accuracy_strongest"):
    print(result.numbers[key].label, result.numbers[key])

# %%
# May these figures be believed?
# ------------------------------
#
# An attack can fail for two reasons: the network is robust, or its gradient is useless to the attack. The second is
# called gradient masking, and it is how most published defences fell. Nine checks look for it.

result["Checks for gradient masking"]

# %%
# All of them pass here, so the attacks work and the low accuracy is a property of the network. A check with the verdict
# NOT RUN would not be a pass: the budget would not have sufficed, and whether the gradient is masked would be unknown.

print("failed checks:", result.numbers["failed_checks"])

# %%
# What fails first?
# -----------------
#
# The radius that fools an image differs widely between images. Those with the smallest margin between the first and
# the second class need least, which is of use: in operation the margin is known without an attack.

result["Margin and minimal radius"]

# %%
# The least robust images need a change that is hard to see. If this were a product, here is what to look at first.

result["The least robust images"]

# %%
# The answer
# ----------
#
# No. At a change of 25 grey levels the network has next to no accuracy left against an adversary, while noise of the
# same size does not matter. Whether that forbids its use depends on whether somebody has a reason to attack it: a
# scanner has none.
#
# What has not been measured: other norms, rotations, shifts, blur, other paper. Accuracy under attack is a statement
# about one kind of change and one radius. ``probe train --adversarial pgd`` trains networks that withstand such changes,
# at a cost in accuracy, and :doc:`/howto/reading-robustness` goes through every part of the report.
