"""How is a count said in a caption?"""


def counted(n: int, what: str = "image") -> str:
    """A count with its noun.

    >>> counted(1), counted(2000), counted(0, "channel")
    ('1 image', '2,000 images', '0 channels')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
