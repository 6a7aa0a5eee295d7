"""Sphinx configuration."""

from graphql_authkit import __version__

project = "graphql-authkit"
copyright = "2026, graphql-authkit maintainers"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Cross references are checked as far as prose goes; the types in signatures live in many places.
nitpick_ignore_regex = [("py:.*", ".*")]
