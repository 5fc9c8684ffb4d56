"""The picture as a page that is one file: it asks for nothing from any network.

Names and code come from users. They go into the page as JSON that cannot end its script element,
and the script writes them as text, never as HTML. Only this style and this script may run.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from ._boxes import Box, opened
from ._picture import Picture, picture, shape_of
from ._words import short

SCRIPTS = ("page_text.js", "page_tree.js", "page.js")
ROWS = 40  # boxes of a column that are seen when the page opens


def page(data: Mapping[str, Any]) -> str:
    """A sharing report, as ``to_dict()`` gives it, as a page of HTML."""
    drawn = picture(data)
    style, script = _file("page.css"), "\n".join(map(_file, SCRIPTS))
    parts = {
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "title": html.escape(drawn.name),
        "style": style,
        "script": script,
        "data": _json(_contents(drawn)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def _file(name: str) -> str:
    return files("torchscope.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON of ASCII letters in which no element of HTML begins or ends."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _contents(drawn: Picture) -> dict[str, Any]:
    return {
        "name": drawn.name,
        "variables": [
            {
                **one,
                "shape": shape_of(one),
                "size": short(one["count"]),
                "marks": marks,
                "times": times,
            }
            for one, marks, times in zip(drawn.variables, drawn.marks, drawn.times, strict=True)
        ],
        "lines": [
            {
                "file": line.file,
                "where": f"{line.short}:{line.line}",
                "line": line.line,
                "function": line.function,
                "code": line.code,
                "callers": [[way.seen_from(line), way.code] for way in line.callers],
            }
            for line in drawn.lines
        ],
        "edges": drawn.edges,
        "near_misses": drawn.near_misses,
        "tied": drawn.tied,
        "notes": drawn.notes,
        "recorded": drawn.recorded,
        "scopes": _boxes(drawn.scopes),
        "files": _boxes(drawn.files),
    }


def _boxes(boxes: Sequence[Box]) -> list[dict[str, Any]]:
    open_now = opened(boxes, ROWS)
    return [
        {
            "label": box.label,
            "parent": box.parent,
            "weight": box.weight,
            "size": short(box.weight),
            "leaf": box.leaf,
            "leaves": box.leaves,
            "marks": box.marks,
            "open": one in open_now,
        }
        for one, box in enumerate(boxes)
    ]
