"""How are a count and a figure said in a caption?"""

from collections.abc import Sequence


def counted(n: int, what: str = "image") -> str:
    """A count with its noun.

    >>> counted(1), counted(2000), counted(0, "channel")
    ('1 image', '2,000 images', '0 channels')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def unsigned(text: str) -> str:
    """A formatted number without the sign of what was rounded to zero.

    >>> unsigned("-0.00"), unsigned("-0.01"), unsigned("-0%")
    ('0.00', '-0.01', '0%')
    """
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text
