"""Sphinx configuration of the documentation: `make docs` builds it without a network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
os.environ.pop("PROBE_DATA", None)  # examples use what is installed with probe

from probe_gallery import ROOMS, before_example, scrape

import probe

project = "probe"
copyright = "the authors of probe, MIT licence"
version = release = probe.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "offline",
    "probe_gallery",
    "probe_reference",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_ext", "gallery", "stories", "**/GALLERY_HEADER.rst"]
suppress_warnings = ["config.cache"]  # the scraper is a function
nitpicky = True
# There is no index of other projects without a network: what is theirs, and names of types, stay text.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!probe\b).+"),
    (
        r"py:.*",
        r"probe\.(?!(\w+|adversarial\.\w+|attribution\.\w+|synthesis\.\w+)$).+",
    ),
]
default_role = "code"
smartquotes = False  # flags have two dashes

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 90
add_module_names = False
toc_object_entries_show_parents = "hide"
viewcode_line_numbers = True

html_theme = "pydata_sphinx_theme"
html_title = "probe"
html_static_path = ["_static"]
html_css_files = ["probe.css"]
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}  # light or dark as the system
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {
    page: [] for page in ("start", "methods", "glossary", "models")
}  # pages without others below them
html_theme_options = {
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "pygments_light_style": "friendly",
    "pygments_dark_style": "github-dark",
}

sphinx_gallery_conf = {
    "examples_dirs": ["gallery", "stories"],
    "gallery_dirs": ["auto_gallery", "auto_stories"],
    "filename_pattern": r"\.py$",
    "subsection_order": [f"gallery/{room}" for room in ROOMS],
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_", "__repr__"),
    "image_scrapers": (scrape,),
    "reset_modules": (before_example,),
    "plot_gallery": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
    "inspect_global_variables": False,
    "thumbnail_size": (400, 280),
}
