"""Where can images come from? The table behind `probe list data`; nothing heavy is imported here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A source of images; `splits` has the default first and is empty where there is only one set."""

    name: str
    title: str
    splits: tuple[str, ...]
    download: bool  # whether it must be on the disk, or be fetched, before it can be read


_SOURCES = (
    Source("digits", "1,797 handwritten digits, 8 x 8 grey (scikit-learn)", ("test", "train"), False),
    Source("photos", "two colour photographs, 427 x 640 (scikit-learn)", (), False),
    Source("shapes", "drawn objects of ten kinds, 64 x 64 colour, with masks", ("test", "train"), False),
    Source("mnist", "70,000 handwritten digits, 28 x 28 grey", ("test", "train"), True),
    Source("fashion-mnist", "70,000 pieces of clothing, 28 x 28 grey", ("test", "train"), True),
    Source("cifar10", "60,000 small photographs of ten kinds, 32 x 32 colour", ("test", "train"), True),
    Source("folder:PATH", "a folder or zip of png, jpeg, webp or bmp files, a folder per class", (), False),
)


def sources() -> dict[str, Source]:
    """All sources by name, in the order in which they are shown."""
    return {source.name: source for source in _SOURCES}
