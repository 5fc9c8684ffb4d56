"""Print the lines of code of files, without comments, blanks and docstrings.

python tests/count_code.py [FILE ...]     the core of torchscope, if no file is named
"""

import ast
import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "torchscope"
# All private files are the core, so that splitting one does not make it smaller, but these:
BESIDE_THE_CORE = {"__init__", "_errors", "_assign", "_optim"}
NOT_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


def docstring_lines(source: str) -> set[int]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            lines.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def lines_of_code(path: Path) -> int:
    lines: set[int] = set()
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type not in NOT_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(path.read_text(encoding="utf-8")))


def main() -> None:
    core = [path for path in PACKAGE.glob("_*.py") if path.stem not in BESIDE_THE_CORE]
    total = 0
    for path in [Path(name) for name in sys.argv[1:]] or sorted(core):
        count = lines_of_code(path)
        total += count
        print(f"{count:6,}  {path.name}")
    print(f"{total:6,}  total")


if __name__ == "__main__":
    main()
