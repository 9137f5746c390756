"""
How is a question of one's own made an analysis?
================================================

A class with parameters and a method `run`. As a file in `probe/analyses/` it is a command and part of reports as
well; for a notebook the class is enough.
"""

import numpy as np
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
    darkest: Fraction = Field(1 / 4, gt=0, lt=1, description="smallest factor of every pixel")
    points: int = Field(7, ge=2, le=50, description="factors to try, up to 1")

    def run(self, model, images, job):
        factors = np.linspace(self.darkest, 1, self.points)
        correct = np.zeros(self.points)
        for batch in job.progress(images.batches(model.batch(), model.device), "darkening"):
            for k, factor in enumerate(factors.tolist()):
                with torch.inference_mode():
                    correct[k] += (
                        model.logits(batch.pixels * factor).argmax(1).cpu() == batch.labels.cpu()
                    ).sum()
        numbers = [proportion(hits, len(images), label="accuracy at the darkest") for hits in correct]
        low, value, high = np.array([(n.low, n.value, n.high) for n in numbers]).T
        line = Line(name="accuracy", x=factors, y=value, low=low, high=high)
        caption = f"The accuracy is {value[0]:.1%} at a factor of {factors[0]:g} and {value[-1]:.1%} at 1."
        chart = Chart(
            title="Accuracy against brightness",
            caption=caption,
            lines=[line],
            x_label="factor",
            y_label="accuracy",
        )
        return Result(exhibits=[chart], numbers={"accuracy_darkest": numbers[0]})


model, images = probe.load("vgg-shapes"), probe.images("shapes:test", n=200)
probe.run(Brightness(darkest="1/4"), model, images)

# %%
# What the picture means
# ----------------------
#
# The accuracy, with 95 % intervals, over the factor by which every pixel is multiplied. Parameters are validated by
# their bounds, the progress bar comes from the job, and the result shows itself as every other does.
#
# What it does not mean
# ---------------------
#
# A factor is not a darker scene: a camera adds noise and changes its exposure. Curves of this kind say how far a
# network was pushed, and nothing about how often that happens.
