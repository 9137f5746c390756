"""Which room may import which: strictly downward, without circles, and the heavy libraries in their own rooms."""

import ast
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "probe"

FLOORS = [
    {
        "errors",
        "atomic_files",
        "paths",
        "locks",
        "device",
        "precision",
        "statistics",
        "renamed",
        "regular_files",
        "terminal",
        "interrupts",
    },
    {"params", "zoo", "exhibits"},
    {"registry"},
    {"data"},
    {"model"},
    {"methods"},
    {"adversarial", "attribution", "synthesis"},  # names of what lies in methods
    {"training"},
    {"analyses"},
    {"runs"},
    {"reporting"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
FIELDS = {"inspection", "units", "attribution", "synthesis", "adversarial", "representation", "landscape"}
ALLOWED_BETWEEN_METHODS = {("units", "attribution"), ("adversarial", "synthesis")}
ONLY_IN = {"matplotlib": "exhibits", "plotly": "exhibits", "streamlit": "apps", "cyclopts": "cli"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def field(path: Path) -> str:
    """The field of work that a file of methods/ or analyses/ belongs to, or an empty string."""
    parts = path.relative_to(PACKAGE).parts
    return parts[1] if len(parts) > 2 else ""


def imports(path: Path) -> set[str]:
    """Every module that a file imports at run time, at its top or inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    modules: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    if room(path) == "__init__":
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "probe" and len(parts) > 1 and parts[1] in HEIGHT:
            here, there = HEIGHT[room(path)], HEIGHT[parts[1]]
            assert there < here or parts[1] == room(path) or there == 0, (
                f"{path} imports {module}, which does not stand below it"
            )
        if parts[0] in ONLY_IN:
            assert room(path) == ONLY_IN[parts[0]], f"{path} imports {parts[0]}"


def test_no_two_rooms_import_each_other() -> None:
    """Rooms of one floor, the ground floor's files among them, and the fields of methods/ and analyses/."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        here = f"{room(path)}.{field(path)}" if room(path) in ("methods", "analyses") else room(path)
        for module in imports(path):
            parts = module.split(".")
            if parts[0] != "probe" or len(parts) < 2 or parts[1] not in HEIGHT:
                continue
            inside = parts[1] in ("methods", "analyses")
            there = (
                f"{parts[1]}.{parts[2] if len(parts) > 2 and parts[2] in FIELDS else ''}"
                if inside
                else parts[1]
            )
            if there != here:
                arrows[here].add(there)
    circles = [
        (a, b) for a in arrows for b in _reached_from(arrows, a) if a in _reached_from(arrows, b) and a < b
    ]
    assert not circles


def _reached_from(arrows: dict[str, set[str]], start: str) -> set[str]:
    reached, todo = set(), [start]
    while todo:
        for room in arrows.get(todo.pop(), set()) - reached:
            reached.add(room)
            todo.append(room)
    return reached


@pytest.mark.parametrize(
    "path", [p for p in FILES if room(p) == "methods"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_the_rooms_of_methods_are_independent(path: Path) -> None:
    for module in imports(path):
        parts = module.split(".")
        if parts[:2] == ["probe", "methods"] and len(parts) > 2 and parts[2] in FIELDS and field(path):
            pair = (field(path), parts[2])
            assert pair[0] == pair[1] or pair in ALLOWED_BETWEEN_METHODS, f"{path} imports {module}"


def test_methods_and_analyses_are_in_the_seven_rooms() -> None:
    for floor in ("methods", "analyses"):
        assert {path.name for path in (PACKAGE / floor).iterdir() if path.is_dir()} - {
            "__pycache__"
        } <= FIELDS
    assert {path.name for path in (PACKAGE / "methods").glob("*.py")} == {"__init__.py"}


def test_zoo_imports_torch_alone() -> None:
    allowed = {"torch", "probe", *sys.stdlib_module_names}
    for path in FILES:
        if room(path) == "zoo":
            assert {module.split(".")[0] for module in imports(path)} <= allowed, path


def test_every_room_has_its_floor() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= set(HEIGHT)


def test_there_is_no_utils_module() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc", "parts")]
