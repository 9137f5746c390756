"""Look for words that are not the field's: in identifiers, file names, flags, keys and the text that people read.

    python tests/vocabulary.py            # every place, and a count
    python tests/vocabulary.py probe/zoo  # below one folder

An identifier is cut at underscores and capitals, and each of its words is looked up in WORDS. Docstrings, comments and
strings are searched for PHRASES. What stands in EXCEPTIONS, with the reason, is passed over.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[1]

WORDS = {
    "subject": "model",
    "found": "the thing that it is: result, layer, prediction ...",
    "one": "the thing that it is",
    "some": "the thing that it is: batch, selection ...",
    "said": "caption, prediction, text ...",
    "made": "adversarials, images, created ...",
    "told": "options, caption ...",
    "asked": "selection, queries, requested",
    "ask": "select",
    "hear": "callback",
    "sure": "confidence",
    "chance": "confidence; chance_level where that is meant",
    "answer": "prediction",
    "answers": "predictions, predict",
    "answered": "predicted",
    "slope": "gradient",
    "aim": "criterion",
    "wish": "criterion",
    "goal": "criterion",
    "least": "min",
    "stands": "robust",
    "faces": "images",
    "heads": "headers",
    "moves": "transforms",
    "calm": "anneal",
    "canvas": "parametrisation",
    "bends": "activation kinds",
    "likeness": "similarity, rank_correlation",
    "forgetting": "cascading_randomisation",
    "forgetful": "half_randomised",
    "climb": "restart, ascent",
    "ladder": "attack_curves",
    "led": "targeted",
    "filed": "reencoded",
    "lattice": "quantisation",
    "void": "invalid",
    "doubts": "invalid_warning",
    "contained": "in_ball",
    "judge": "evaluate",
    "judged": "evaluated, decided",
    "judging": "evaluate",
    "harden": "adversarial examples",
    "hardened": "adversarially trained",
    "grown": "warm-up",
    "dear": "expensive",
    "places": "coordinates, paths, positions",
    "seen": "activations, observed",
    "way": "strategy, path, interpolation",
    "ways": "strategies, paths",
    "thaw": "unfreeze",
    "renewed": "with_new_head",
    "kept": "cached, stored, neighbourhood_overlap",
}
"""A word of an identifier that is not the field's, and what to write instead."""

PHRASES = {
    r"\bsubjects?\b": "model",
    r"\bhangs? on\b": "depends on",
    r"\bhow sure\b|\bsurest\b|\bmost sure\b": "confidence",
    r"\blikeness(es)?\b": "similarity",
    r"\brightly\b|\banswered right\b": "classified correctly",
    r"\bdear(er|est)?\b": "expensive",
    r"\bnothing takes\b": "unexpected argument",
    r"\bmistakes? in probe\b": "internal error",
    r"\bforget(s|ting|ful)?\b": "randomisation",
    r"\bled to\b": "targeted",
    r"\bthe worst attack\b|\bworst of all\b": "the strongest of all attacks",
    r"\bone change for all\b": "universal perturbation",
    r"\bblind\b": "black-box",
    r"\bshuffled\b": "randomised",
    r"\banswers? (rightly|to an image|an image|with)\b": "predicts, classifies",
    r"\b(network|model|layer|channel|filter|unit)s? answers?\b": "predicts, responds, activates",
    r"\btakes? down\b": "records",
    r"\b1 (images|channels|networks|models|layers|points|times)\b": "the singular",
    r"\ball 2 (networks|images|models)\b": "both",
    r"\bpull of\b": "weight decay",
    r"\bruns? back from\b": "is propagated back from",
    r"\bstands? (PGD|FGSM|the attack|every|all|it)\b|\bstand which\b": "is robust to",
    r"\bwhat it is asked\b|\bready to be asked\b": "plain words",
}
"""A regular expression over docstrings, comments and strings, and what to write instead."""

EXCEPTIONS: dict[str, str] = {
    "*: chance_level": "the accuracy of a random guess, as the field calls it",
    "*: one_pixel": "the name of the attack of Su et al. 2019",
    "*: OnePixel": "the name of the attack of Su et al. 2019",
    "*: one_cycle": "the name of a learning rate schedule (Smith & Topin 2017)",
    "probe/params.py: one": "a number in words, for grey levels",
    "probe/renamed.py: canvas": "the earlier name of a flag, which errors answer",
    "probe/renamed.py: moves": "the earlier name of a flag, which errors answer",
    "probe/renamed.py: subject": "the earlier name of a flag, which errors answer",
    "tests/test_renamed.py: subject": "the earlier name of a flag, which errors answer",
    "probe/training/transfer/heads.py: heads": "classifier heads, as in transfer learning",
}
"""`path: word`, or `*: identifier` for every file, with the reason why it may stay."""


@dataclass(frozen=True)
class Place:
    """A word that is left: where it stands, what it is part of, and what to write instead."""

    path: str
    line: int
    word: str
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} in {self.text!r}: {self.instead}"

    @property
    def excepted(self) -> bool:
        keys = (
            f"{self.path}: {self.word}",
            f"{self.path}: {self.text}",
            f"*: {self.text}",
            f"*: {self.word}",
        )
        return any(key in EXCEPTIONS for key in keys)


def words_of(identifier: str) -> list[str]:
    """The words of an identifier.

    >>> words_of("_min_radiusOnRay"), words_of("PGDAttack")
    (['min', 'radius', 'on', 'ray'], ['pgd', 'attack'])
    """
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", identifier).split("_")
    return [part.lower() for part in parts if part]


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a file binds: functions, classes, parameters, fields, variables, aliases."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def texts(source: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string, constant part of an f-string and comment of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def keys(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings that look like keys: snake_case or hyphenated, as flags, columns of tables and JSON have them."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if re.fullmatch(r"[a-z]+(?:[_-][a-z0-9]+)*", node.value):
            yield node.lineno, node.value.replace("-", "_")


def places(path: Path, *, names: bool) -> list[Place]:
    """What is left in one file. names: whether identifiers are looked at, or text alone."""
    where, source = path.relative_to(HOME).as_posix(), path.read_text(encoding="utf-8")
    left: list[Place] = []
    if path.suffix != ".py":
        lines = list(enumerate(source.splitlines(), 1))
        return [place for line, text in lines for place in _phrases(where, line, text)]
    tree = ast.parse(source)
    if names:
        bound = [(0, path.stem), *identifiers(tree), *keys(tree)]
        left += [
            Place(where, line, word, name, WORDS[word])
            for line, name in bound
            for word in words_of(name)
            if word in WORDS
        ]
    return left + [place for line, text in texts(source, tree) for place in _phrases(where, line, text)]


def _phrases(where: str, line: int, text: str) -> list[Place]:
    return [
        Place(where, line, match.group().lower(), " ".join(text.split())[:80], instead)
        for pattern, instead in PHRASES.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def left_over(folder: str = "") -> list[Place]:
    """Every place in the package, its reports and documents (identifiers of tests are not looked at), exceptions apart."""
    package = [(path, True) for path in sorted((HOME / "probe").rglob("*.py"))]
    rest = [
        *(HOME / "tests").rglob("*.py"),
        *(HOME / "reports").rglob("*.*"),
        *(HOME / "docs").rglob("*.md"),
        *HOME.glob("*.md"),
    ]
    files = package + [(path, False) for path in sorted(rest)]
    chosen = [(p, names) for p, names in files if p.relative_to(HOME).as_posix().startswith(folder)]
    text = [
        (p, names)
        for p, names in chosen
        if p.suffix in (".py", ".md", ".toml", ".j2") and p.stem not in ("vocabulary", "test_vocabulary")
    ]
    unique = {(p.path, p.word, p.text): p for path, names in text for p in places(path, names=names)}
    return [place for place in unique.values() if not place.excepted]


if __name__ == "__main__":
    remaining = left_over(*sys.argv[1:])
    print("\n".join(map(str, remaining)))
    print(f"{len(remaining)} words are left")
    sys.exit(bool(remaining))
