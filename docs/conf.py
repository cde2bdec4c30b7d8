"""The documentation site: `make docs` builds it from the Markdown and the notebooks of this checkout.

The folder that Sphinx reads is the checkout's own, so that a link between two files is the same on the site
and where the files are read as they are. Nothing of a page comes from another host.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

import jtrack  # noqa: E402

project = "jtrack"
author = "the jtrack authors"
version = release = jtrack.__version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "fields", "mathml", "api_reference"]

root_doc = "docs/index"
include_patterns = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "bench/README.md",
    "docs/**.md",
    "notebooks/*.ipynb",
    "weights/*.md",
]
exclude_patterns = ["docs/_build", ".*", "**/.*", "jtrack", "tests", "demo", "results"]

# --- Markdown and notebooks ---
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off" if os.environ.get("NOTEBOOKS") == "off" else "cache"
nb_execution_cache_path = str(ROOT / "docs" / "_build" / "executed")
nb_execution_timeout = 1800  # seconds a cell
nb_execution_raise_on_error = True
nb_merge_streams = True

# --- The API reference ---
autodoc_member_order = "bysource"
autodoc_default_options = {"special-members": "__call__"}
autodoc_typehints = "none"  # docstrings say what is taken and returned, with shapes and units
autodoc_preserve_defaults = True
napoleon_use_ivar = True
add_module_names = False
# Classes of other packages, and private ones.
nitpick_ignore_regex = [("py:.*", r"(?!jtrack).*"), ("py:.*", r"jtrack\..*\._\w+")]

# --- The site ---
html_theme = "sphinx_book_theme"
html_title = "jtrack"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_front"]  # its index.html leads to docs/index.html
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "show_navbar_depth": 1}
