"""Folders that are installed with the package, in a checkout and in an installed wheel alike."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_BUNDLE = _PACKAGE / "_bundle"
_HOME = _BUNDLE if _BUNDLE.is_dir() else _PACKAGE.parent

PRETRAINED = _HOME / "pretrained"
REPORTS = _HOME / "reports"
APPS = _HOME / "apps"
