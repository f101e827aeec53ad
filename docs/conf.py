"""How `make docs` builds the site: no network at build, and no other host is needed to read it."""

import sys
from pathlib import Path

import rnnfv

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the two scripts beside this file

project = "rnnfv"
author = copyright = "the authors of rnnfv"
version = release = rnnfv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "_build",
    "sg_execution_times.rst",
    "**/sg_execution_times.rst",
    "_generated/*.md",
    "gallery/*.py",
    "gallery/*.ipynb",
]
highlight_language = "none"  # most blocks are commands; Python's say so

# -- pages -----------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# -- the reference: from the docstrings ------------------------------------------------------------

default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autosummary's templates list them
numpydoc_xref_param_type = False  # types are words, such as "ndarray of shape (n, d)"
numpydoc_validation_checks = {"GL03", "GL07", "GL08", "PR01", "PR02", "PR03", "SS01"}
numpydoc_validation_exclude = {  # their attributes are described, or those of the class that they are like
    *(rf"\.{name}$" for name in ("Backbone", "LabelledSequences", "Manifest", "Pairs", "RetrievalModel")),
    *(rf"\.{name}$" for name in ("RNNHiddenState", "VectorIndex")),
}

# -- the gallery: every example is run -------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "notebook_images": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "capture_repr": (),
    "plot_gallery": "True",
}

# -- how it looks ----------------------------------------------------------------------------------

html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines what is imported
html_title = f"rnnfv {version}"
html_static_path = ["_static"]
html_css_files, html_js_files = ["site.css"], ["keyboard.js", "commands.js"]
templates_path = ["_templates"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2166ac", "color-brand-content": "#2166ac"},
    "dark_css_variables": {"color-brand-primary": "#8fbce6", "color-brand-content": "#8fbce6"},
}


def setup(app):
    """Draw the figures, and copy the pages that are kept elsewhere, before the sources are read."""
    from build_parts import within_site, write_parts

    def turn_links(app, name, source):
        source[0] = within_site(source[0])

    app.connect("config-inited", lambda *_: write_parts(HERE / "_generated"))
    app.connect("source-read", turn_links)
