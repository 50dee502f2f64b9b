"""How Sphinx builds the site: `make docs`."""

import importlib.util
import sys
from pathlib import Path

import fastxent

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "fastxent"
author = copyright = "fastxent developers"  # noqa: A001 - Sphinx calls it so
version = release = fastxent.__version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "peer_rows",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery/*", "_ext", "_static"]
# What is for another library is documented where that is installed: `make docs` needs none of them.
exclude_patterns += [
    f"api/{library}.md"
    for library in ("torch", "jax", "dask")
    if importlib.util.find_spec(library) is None
]
suppress_warnings = ["toc.excluded"]  # of api/index.md, which names them all
# By name, because those of new pages are made by the second build only.
autosummary_generate = sorted(
    {path.relative_to(HERE).as_posix() for path in HERE.glob("api/*.md")} - set(exclude_patterns)
)
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "fastxent"
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": "fastxent"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    # Pages with a list of their section on the left leave the right to code.
    "secondary_sidebar_items": {
        "*": ["page-toc"],
        "api/*": ["page-toc"],
        "internals/*": ["page-toc"],
        "coming-from/*": [],
        "generated/**": [],
        "guide/*": [],
        "torch": [],
        "jax": [],
        "scaling": [],
    },
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}
# These pages have no others below them.
html_sidebars = {
    "getting-started": [],
    "which-loss": [],
    "mathematics": [],
    "playground": [],
    "accuracy": [],
    "testing": [],
    "performance": [],
}

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# A class that autosummary documents has its members on its own page.
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
autodoc_typehints = "none"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/plot_",
    "matplotlib_animations": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "ignore_pattern": r"page\.py$",
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 10**6,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
}
