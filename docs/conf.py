"""How the documentation is built: `make docs`. Warnings are errors, so a link that leads nowhere stops it."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

project = "migrator"
author = "The migrator developers"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx_click"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Headings can be linked to; a link to one that is not there is a warning.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"  # in docstrings, as in Markdown

# Examples run in a folder whose data/ is as the demo leaves it: a new one a page.
doctest_global_setup = """
import contextlib, os, tempfile
from pathlib import Path
from migrator.demo import make_legacy_store
from migrator.engine.exchange import Place
from migrator.runner import upgrade
from migrator.site import Site, shipped_migrations
_base, _before = tempfile.TemporaryDirectory(), os.getcwd()
os.chdir(_base.name)
make_legacy_store(Path("data"))
upgrade(Site(Place.at(Path("data")), shipped_migrations(), Path("backups").absolute(), Path("mappings").absolute()))
"""
doctest_global_cleanup = """
os.chdir(_before)
_base.cleanup()
"""

html_theme = "furo"
html_title = "migrator"
html_static_path: list[str] = []
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False


def _mark_examples(app: Sphinx, tree: nodes.document) -> None:
    """A fenced block of Python with a prompt is an example for the doctest builder."""
    for block in tree.findall(nodes.literal_block):
        if block.get("language") == "python" and ">>> " in block.astext():
            block["testnodetype"] = "doctest"
            block["groups"] = ["default"]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("doctree-read", _mark_examples)
