"""Building blocks of captions: sentences, counts, lists of names, numbers."""

import re
from collections.abc import Sequence


def sentences(*parts: object) -> str:
    """The parts that are not empty, with a space between them: one condition a line.

    >>> skipped = 0
    >>> sentences("Accuracy is 91 %.", skipped and f"{skipped} images are skipped.", None)
    'Accuracy is 91 %.'
    """
    return " ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())


def counted(n: int, what: str = "image") -> str:
    """A count with its noun.

    >>> counted(1), counted(2000), counted(0, "channel")
    ('1 image', '2,000 images', '0 channels')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def selected(shown: int, total: int, what: str) -> str:
    """How many of all are shown.

    >>> selected(1, 1, "channel"), selected(2, 2, "channel"), selected(5, 5, "channel"), selected(1, 5, "channel")
    ('the only channel', 'both channels', 'all 5 channels', '1 of 5 channels')
    """
    if shown < total:
        return f"{shown:,} of {counted(total, what)}"
    return {1: f"the only {what}", 2: f"both {what}s"}.get(total, f"all {counted(total, what)}")


def capitalised(text: str) -> str:
    """The text with a capital at its start, otherwise unchanged.

    >>> capitalised("all 5 channels of ReLU")
    'All 5 channels of ReLU'
    """
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Names as a sentence has them; those after the first `most` are counted.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
    ('a', 'a and b', 'a, b and c', 'a and 2 more')
    """
    shown = [*names] if most is None or len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def percent(proportion: float) -> str:
    """A proportion as people write it; neither 0% nor 100% unless it is exactly that.

    >>> percent(0.914), percent(1.0), percent(0.99996), percent(0.004), percent(0.0)
    ('91%', '100%', 'more than 99%', 'less than 1%', '0%')
    """
    if 0 < proportion < 0.005:
        return "less than 1%"
    return "more than 99%" if 0.995 <= proportion < 1 else f"{proportion:.0%}"


def format_eps(eps: float) -> str:
    """A radius in pixel values as people write it.

    >>> format_eps(8 / 255), format_eps(0.3), format_eps(0.0123456)
    ('8/255', '0.3', '0.0123')
    """
    levels = 255 * eps
    return f"{round(levels)}/255" if levels >= 0.5 and abs(levels - round(levels)) < 1e-6 else f"{eps:.3g}"


def snake_case(text: str) -> str:
    """Text as a key of Result.numbers.

    >>> snake_case("trustworthiness, t-SNE"), snake_case("layer1.0/relu#2")
    ('trustworthiness_t_sne', 'layer1_0_relu_2')
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def significant(value: float, digits: int = 3) -> str:
    """A number rounded to significant digits, in plain notation below a million.

    >>> significant(0.01234), significant(5333.0), significant(218_700.0), significant(2.187e7)
    ('0.0123', '5,330', '219,000', '2.19e+07')
    """
    return plain(f"{value:.{digits}g}")


def plain(text: str) -> str:
    """A formatted number in plain notation if it is below a million, and without the sign of what was rounded to zero.

    >>> plain("1.07e+03"), plain("-2.187e+05"), plain("1e+06"), plain("-0.00")
    ('1,070', '-218,700', '1e+06', '0.00')
    """
    return f"{float(text):,.0f}" if re.fullmatch(r"-?\d(\.\d+)?e\+0[1-5]", text) else unsigned(text)


def unsigned(text: str) -> str:
    """A formatted number without the sign of what was rounded to zero.

    >>> unsigned("-0.00"), unsigned("-0.01"), unsigned("-0%")
    ('0.00', '-0.01', '0%')
    """
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text
