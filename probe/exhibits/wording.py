"""How are a count and a figure said in a caption?"""


def counted(n: int, what: str = "image") -> str:
    """A count with its noun.

    >>> counted(1), counted(2000), counted(0, "channel")
    ('1 image', '2,000 images', '0 channels')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def unsigned(text: str) -> str:
    """A formatted number without the sign of what was rounded to zero.

    >>> unsigned("-0.00"), unsigned("-0.01"), unsigned("-0%")
    ('0.00', '-0.01', '0%')
    """
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text
