"""How the documentation is built: `make docs`. Warnings are errors, so a link that leads nowhere stops it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

project = "migrator"
author = "The migrator developers"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Headings can be linked to; a link to one that is not there is a warning.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"  # in docstrings, as in Markdown

html_theme = "furo"
html_title = "migrator"
html_static_path: list[str] = []
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
