"""The directive `peer-row`: what docs/peers.md says about one function of another library."""

import re
from pathlib import Path
from typing import NamedTuple

from sphinx.util.docutils import SphinxDirective

PAGE = Path(__file__).parents[1] / "peers.md"


class Row(NamedTuple):
    """A row of the page."""

    ours: str
    function: str
    #: What is written below the name of the function, such as `from_logits=True`.
    variant: str
    #: Each of its parameters, and what stands for it here.
    parameters: list[tuple[str, str]]
    lacks: str
    we_lack: str


def read_rows(path=PAGE):
    """Return all rows about functions of other libraries."""
    rows = []
    for section in re.split(r"^### ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        ours = section.split("\n", maxsplit=1)[0]
        for line in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
            peer, parameters, lacks, we_lack = line.split(" | ")
            name, _, variant = peer.partition("<br>")
            pairs = [each.split(" -> ", maxsplit=1) for each in parameters.split("<br>")]
            rows.append(Row(ours, name.strip("`"), variant, pairs, lacks, we_lack))
    return rows


class PeerRow(SphinxDirective):
    """`{peer-row} fastxent_function peer.function [variant]`."""

    required_arguments = 2
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        self.env.note_dependency(str(PAGE))
        ours, function, variant = (*self.arguments, "")[:3]
        found = [
            row
            for row in read_rows()
            if (row.ours, row.function) == (ours, function) and variant in row.variant
        ]
        if len(found) != 1:
            raise self.error(f"peers.md has {len(found)} rows of {' '.join(self.arguments)}")
        (row,) = found
        text = ["| there | fastxent |", "|---|---|"]
        text += [f"| {theirs} | {here} |" for theirs, here in row.parameters]
        for title, items in (("It lacks", row.lacks), ("fastxent lacks", row.we_lack)):
            if items != "-":
                text += ["", f"**{title}**: {items}."]
        return self.parse_text_to_nodes("\n".join(text))


def setup(app):
    app.add_directive("peer-row", PeerRow)
    return {"parallel_read_safe": True}
