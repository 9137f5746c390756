"""Who may import whom: upward only, and the heavy libraries in their own rooms."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "probe"

ORDER = [
    {"errors", "places", "claims"},
    {"params", "zoo", "exhibits"},
    {"subject", "data"},
    {"methods"},
    {"analyses", "training"},
    {"runs"},
    {"reporting"},
    {"cli", "__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
ONLY_IN = {"matplotlib": "exhibits", "plotly": "exhibits", "streamlit": "apps", "cyclopts": "cli"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports at run time, at its top or inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "probe" else set()
            )
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    if room(path) == "__init__":
        return
    for module in imported(path):
        parts = module.split(".")
        if parts[0] == "probe" and len(parts) > 1 and parts[1] in RANK:
            assert RANK[parts[1]] <= RANK[room(path)], f"{path} imports {module}, which stands above it"
        if parts[0] in ONLY_IN:
            assert room(path) == ONLY_IN[parts[0]], f"{path} imports {parts[0]}"


def test_zoo_imports_torch_alone() -> None:
    allowed = {"torch", "probe"}
    for path in FILES:
        if room(path) == "zoo":
            outside = {module.split(".")[0] for module in imported(path)} - allowed
            assert not {m for m in outside if m not in __import__("sys").stdlib_module_names}, path


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= set(RANK)


def test_there_is_no_drawer_for_everything() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc")]
