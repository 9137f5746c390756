"""The sources of images that `probe list data` lists; nothing that is slow to import is needed for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A source of images. splits: the default first, empty if there is only one set. download: whether it is a file that
    must be on disk or be downloaded."""

    name: str
    title: str
    splits: tuple[str, ...]
    download: bool


_SOURCES = (
    Source("digits", "1,797 handwritten digits, 8 x 8 grey (scikit-learn)", ("test", "train"), False),
    Source("photos", "two colour photographs, 427 x 640 (scikit-learn)", (), False),
    Source("shapes", "drawn shapes of ten classes, 64 x 64 colour, with masks", ("test", "train"), False),
    Source(
        "shapes-shortcut",
        "like shapes, but almost all hearts have a net behind them; in the split swapped, all other shapes have it instead",
        ("test", "train", "swapped"),
        False,
    ),
    Source("mnist", "70,000 handwritten digits, 28 x 28 grey", ("test", "train"), True),
    Source("fashion-mnist", "70,000 images of clothing, 28 x 28 grey", ("test", "train"), True),
    Source("cifar10", "60,000 photographs of ten classes, 32 x 32 colour", ("test", "train"), True),
    Source(
        "folder:PATH",
        "a folder or zip of png, jpeg, webp or bmp files, with a subfolder for each class",
        (),
        False,
    ),
)


def sources() -> dict[str, Source]:
    """All sources by name, in the order in which they are listed."""
    return {source.name: source for source in _SOURCES}
