"""The picture as text that other programs lay out: Graphviz's dot, and Mermaid.

Nodes are numbered; names and code stand in labels only, escaped as either language wants it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchscope._overview._text import counted

from ._boxes import opened, walk
from ._picture import MARKS, Bundle, Picture, bundles, mark_of, picture, shape_of
from ._words import marked, short, wrapped

ROWS = 40  # boxes of a column in Mermaid, at most if folding can do it: it refuses 500 edges


@dataclass(frozen=True)
class _Language:
    """How nodes, boxes of nodes and edges are written."""

    quoted: Callable[[Sequence[str]], str]  # a label of several lines
    node: str
    begin: str
    end: str
    looks: Mapping[str, str]
    edge: Callable[[Bundle], str]


def dot(data: Mapping[str, Any]) -> str:
    """A sharing report, as ``to_dict()`` gives it, for Graphviz: all of it, nothing folded."""
    drawn = picture(data)
    opens = [set(range(len(boxes))) for boxes in (drawn.scopes, drawn.files)]
    return "\n".join([_DOT_BEGIN, *_body(drawn, opens, _DOT), "}\n"])


def mermaid(data: Mapping[str, Any]) -> str:
    """A sharing report, as ``to_dict()`` gives it, for Mermaid: large models folded to scopes."""
    drawn = picture(data)
    opens = [opened(boxes, ROWS) for boxes in (drawn.scopes, drawn.files)]
    return "\n".join(["flowchart LR", *_body(drawn, opens, _MERMAID), _MERMAID_END])


def _body(drawn: Picture, opens: Sequence[set[int]], language: _Language) -> list[str]:
    text: list[str] = []
    for side, boxes, open_now in zip("sf", (drawn.scopes, drawn.files), opens, strict=True):
        for one, depth, begins in walk(boxes, open_now):
            indent = "  " * (depth + 1)
            if not begins:
                text.append(indent + language.end)
                continue
            inner = boxes[one].children and one in open_now
            look = next((mark for mark in ("shared", "unused") if boxes[one].marks[mark]), "")
            label = language.quoted(_label(drawn, side, one))
            written = language.begin if inner else language.node
            text.append(
                indent + written.format(id=f"{side}{one}", label=label, look=language.looks[look])
            )
    return text + [f"  {language.edge(bundle)}" for bundle in bundles(drawn, *opens)]


def _label(drawn: Picture, side: str, one: int) -> list[str]:
    """What is written in a box, in lines."""
    box = (drawn.scopes if side == "s" else drawn.files)[one]
    if box.leaf < 0:
        what = counted(box.leaves, "variable" if side == "s" else "line")
        size = [short(box.weight)] if side == "s" else []
        marks = [marked(box.marks[mark], mark) for mark in MARKS if box.marks[mark]]
        return [*wrapped(box.label, 60), ", ".join([what, *size, *marks])]
    if side == "f":
        line = drawn.lines[box.leaf]
        return [f"{line.short}:{line.line}", *wrapped(box.label, 60)]
    notes = [mark_of(drawn, box.leaf, mark) for mark in drawn.marks[box.leaf]]
    return [*wrapped(box.label, 60), shape_of(drawn.variables[box.leaf]), *notes]


# ---- Graphviz -----------------------------------------------------------------------------------

_DOT_BEGIN = """\
digraph sharing {
  rankdir=LR; ranksep=2;
  graph [fontname=monospace, style=rounded, color="#98a3b1"];
  node [fontname=monospace, shape=box, style="filled,rounded", fillcolor=white];
  edge [fontname=monospace, color="#98a3b1", arrowhead=none];"""


def _dot_quoted(lines: Sequence[str]) -> str:
    text = "\n".join(lines).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n") + '"'


def _dot_edge(bundle: Bundle) -> str:
    look = [f'label="×{bundle.times}"'] if bundle.times > 1 else []
    look += ['color="#a83f00"', "penwidth=3"] if bundle.shared else []
    more = f" [{', '.join(look)}]" if look else ""
    return f"s{bundle.scope} -> f{bundle.file}{more};"


_DOT = _Language(
    quoted=_dot_quoted,
    node="{id} [label={label}{look}];",
    begin="subgraph cluster_{id} {{ label={label};",
    end="}",
    looks={
        "": "",
        "shared": ', color="#a83f00", fillcolor="#fff0e4", penwidth=2, peripheries=2',
        "unused": ', style="filled,rounded,dashed"',
    },
    edge=_dot_edge,
)

# ---- Mermaid ------------------------------------------------------------------------------------

_MERMAID_END = """\
  classDef shared stroke:#a83f00,stroke-width:4px
  classDef unused stroke-dasharray:4 3
"""


# Mermaid reads Markdown, HTML, icons and directives in labels. What begins any of these gets its
# number: marks but a few harmless ones, and those at the beginning of a line or the edge of a word.
_MERMAID_READS = re.compile(
    r"[^\w\n ,.:/()\[\]='×…-]|^[-=]|:(?=[^\W\d])|(?<=^\d)\.|(?<![^\W_])_|_(?![^\W_])",
    re.MULTILINE,
)
_NO_FORMULA = "$\N{ZERO WIDTH SPACE}$"  # two dollars begin one, even as numbers


def _mermaid_quoted(lines: Sequence[str]) -> str:
    text = "\n".join(lines).replace("$$", _NO_FORMULA)
    text = _MERMAID_READS.sub(lambda one: f"#{ord(one[0])};", text)
    return '"' + text.replace("\n", "<br>") + '"'


def _mermaid_edge(bundle: Bundle) -> str:
    times = f'|"×{bundle.times}"|' if bundle.times > 1 else ""
    return f"s{bundle.scope} {'===' if bundle.shared else '---'}{times} f{bundle.file}"


_MERMAID = _Language(
    quoted=_mermaid_quoted,
    node="{id}[{label}]{look}",
    begin="subgraph {id}[{label}]",
    end="end",
    looks={"": "", "shared": ":::shared", "unused": ":::unused"},
    edge=_mermaid_edge,
)
