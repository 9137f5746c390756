"""Can these images be compared by their classes?"""

from probe.data.images import Images


def why_not(images: Images) -> str:
    """Why what images of equal class share cannot be told, as half a sentence; empty where it can."""
    if images.labels is None:
        return "The images have no labels"
    classes = int((images.labels.bincount() > 0).sum())
    if classes < 2:
        return "The images are of one class"
    if len(images) < 2 * classes:
        return f"{len(images):,} images of {classes:,} classes are too few to compare classes"
    return ""
