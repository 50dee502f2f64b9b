"""Formulas as MathML, which browsers draw themselves: no script, no font, nothing to load."""

import re

from docutils import nodes
from latex2mathml.converter import convert


def to_mathml(formula, display="inline"):
    """Convert LaTeX; a function and its argument without parentheses are set apart."""
    text = convert(formula, display=display)
    return re.sub(
        r"<mi>log</mi>(?=<m(?:i|n|sub|sup|frac)>)", r'\g<0><mspace width="0.17em"/>', text
    )


def visit_inline(self, node):
    self.body.append(to_mathml(node.astext()))
    raise nodes.SkipNode


def visit_display(self, node):
    self.body.append(f'<div class="formula">{to_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True}
