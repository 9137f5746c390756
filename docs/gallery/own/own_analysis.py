"""
How do I write an analysis of my own?
=====================================

An analysis is a class with parameters and a method `run`. As a file in `probe/analyses/` it also becomes a
command and can be part of reports; in a notebook, the class is sufficient.
"""

import torch
from pydantic import Field

import probe
from probe.analyses.analysis import Analysis
from probe.exhibits.exhibits import Chart, Line
from probe.exhibits.result import Result, proportion
from probe.params import Fraction


class Brightness(Analysis):
    """Does the accuracy depend on the brightness of the images?"""

    name, title, source = "brightness", "Darkened images", "an example"
    needs_labels = True
    darkest: Fraction = Field(1 / 4, gt=0, lt=1, description="smallest factor")

    def run(self, model, images, job):
        factors, correct = torch.linspace(self.darkest, 1, 7), torch.zeros(7)
        batches = images.batches(model.batch(), model.device)
        for batch in job.progress(batches, "darkening"):
            for k, factor in enumerate(factors.tolist()):
                predicted = model.logits(batch.pixels * factor).argmax(1)
                correct[k] += (predicted == batch.labels).sum().cpu()
        label = "accuracy of the darkest images"
        numbers = [
            proportion(k, len(images), label=label) for k in correct.tolist()
        ]
        chart = self.chart(factors.numpy(), numbers)
        return Result(exhibits=[chart], numbers={"accuracy_darkest": numbers[0]})

    def chart(self, factors, numbers):
        rows = torch.tensor([(n.low, n.value, n.high) for n in numbers])
        low, y, high = rows.T.numpy()
        line = Line(name="accuracy", x=factors, y=y, low=low, high=high)
        caption = (
            f"The accuracy is {y[0]:.1%} at {factors[0]:g} and {y[-1]:.1%} at 1."
        )
        labels = {"x_label": "factor of every pixel", "y_label": "accuracy"}
        return Chart(title="Accuracy", caption=caption, lines=[line], **labels)


# %%
model, images = probe.load("vgg-shapes"), probe.images("shapes:test", n=200)
probe.run(Brightness(darkest="1/4"), model, images)

# %%
# What the picture means
# ----------------------
#
# The accuracy, with its 95 % interval, against the factor by which every pixel is multiplied. Parameters are
# validated against their bounds, the job provides the progress bar, and the result displays itself as that of
# any other analysis.
#
# What it does not mean
# ---------------------
#
# Multiplying pixels is not the same as a darker scene, in which a camera adds noise and changes its exposure.
# The curve shows how a network reacts to a change, not how often that change occurs.
