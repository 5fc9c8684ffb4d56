"""How Sphinx makes the site from these pages: `sphinx-build -n -W --keep-going docs build/site`."""

import sys
from pathlib import Path

import torchscope

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extension"), str(HERE.parent / "tests")]  # tests: tf1_page

project = "torchscope"
author = "the torchscope contributors"
version = release = torchscope.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "messages",
    "notebook",
    "public_names",
]
exclude_patterns = ["_*"]
smartquotes = False  # Messages are searched for as they are printed.
nitpicky = True  # A link that leads nowhere is an error.

# ---- pages ----
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # As on GitHub: page.md#a-heading
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# ---- docstrings ----
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
nitpick_ignore_regex = [("py:(class|obj)", r"(typing\.~)?P")]  # ParamSpec, which has no page

# ---- links to other projects: written by _inventories/write.py, since nothing may be fetched ----
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "_inventories/python.inv"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "_inventories/torch.inv"),
}

# ---- looks ----
html_theme = "furo"
html_title = "torchscope"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["search.js"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
