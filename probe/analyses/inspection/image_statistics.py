"""Which colours, correlations and spatial frequencies do the images have?"""

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.inspection import image_statistics_exhibits as show
from probe.analyses.inspection.image_statistics_chunks import class_means, sums_over
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import snake_case
from probe.methods.inspection.image_statistics import pixel_statistics
from probe.model.model import Model


class ImageStatistics(Analysis):
    """Which colours, correlations and spatial frequencies do the images have?"""

    name = "image-statistics"
    title = "Statistics of the images"
    source = "Field 1987; Ruderman 1994; Krizhevsky et al. 2012, section 4.1"
    uses_predictions = False

    max_classes: int = Field(
        20, ge=0, le=100, description="maximum number of classes whose mean image is shown"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        statistics = pixel_statistics(sums_over(job, images))
        names = show.channel_names(images.shape[0])
        means = class_means(job, images, self.max_classes)
        warnings = []
        if images.labels is None and self.max_classes:
            warnings.append("The images have no labels: the mean images of the classes are omitted.")
        exhibits: list[Exhibit] = [show.colour_table(statistics)]
        if bool(statistics.correlation.isnan().any()):
            warnings.append("A channel is constant: the correlations between channels are omitted.")
        elif len(names) > 1:
            exhibits.append(show.correlation_matrix(statistics))
        exhibits.append(show.mean_image_grid(statistics, means, images, model.classes))
        exhibits.append(show.distance_chart(statistics))
        numbers = {
            f"mean_{snake_case(name)}": Number(value=float(mean), label=f"mean {name}", format="{:.3f}")
            for name, mean in zip(names, statistics.mean, strict=True)
        }
        if bool(statistics.centred_cosine.isnan().all()):
            warnings.append(
                "All pixels are equal: the correlations by distance and the spectrum are omitted."
            )
        else:
            numbers["adjacent_pixel_correlation"] = Number(
                value=float(statistics.centred_cosine[1]),
                label="correlation of adjacent pixels",
                format="{:.3f}",
            )
            if np.isfinite(exponent := statistics.spectral_exponent):
                exhibits.append(show.spectrum_chart(statistics))
                numbers["spectral_exponent"] = Number(
                    value=exponent, label="spectral exponent", format="{:.2f}"
                )
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)
