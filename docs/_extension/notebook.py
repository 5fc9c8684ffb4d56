"""A notebook as a page: the line ``% notebook: PATH`` stands for its cells and their outputs."""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

LINE = re.compile(r"^% notebook: (\S+)$", re.MULTILINE)
WIDTH = 88  # of a block on the page


def as_markdown(notebook: dict[str, Any]) -> str:
    """The cells as Markdown of MyST, one below the other."""
    return "\n\n".join(part for cell in notebook["cells"] for part in parts_of(cell))


def parts_of(cell: dict[str, Any]) -> Iterator[str]:
    """Text as it is; code as a block, and a block for each output."""
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        yield source
        return
    yield block("python", source)
    yield from map(shown, cell["outputs"])


def shown(output: dict[str, Any]) -> str:
    """An output, HTML where there is some; of an error its message."""
    if output["output_type"] == "stream":
        return block("text", "".join(output["text"]).rstrip())
    if output["output_type"] == "error":
        lines = f"{output['ename']}: {output['evalue']}".splitlines()
        return block("text", "\n".join(textwrap.fill(line, WIDTH) for line in lines))
    data = output["data"]
    if "text/html" in data:
        return block("{raw} html", "".join(data["text/html"]))
    return block("text", "".join(data["text/plain"]))


def block(kind: str, text: str) -> str:
    """A fenced block, fenced by more backticks than there are in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{kind}\n{text}\n{fence}"


def put_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the line in a page that Sphinx reads."""
    folder = Path(app.env.doc2path(docname)).parent

    def cells(line: re.Match[str]) -> str:
        path = (folder / line[1]).resolve()
        app.env.note_dependency(str(path))
        return as_markdown(json.loads(path.read_text(encoding="utf-8")))

    source[0] = LINE.sub(cells, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", put_in)
    return {"parallel_read_safe": True}
