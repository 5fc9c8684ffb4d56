"""What errors suggest in Python, as it is typed at a terminal; knows texts alone."""

import re

_TYPED = (
    (r"Paths out of it are followed with outside=True\.", "To read that one, give its path."),
    (r"\bverify=False\b", "--no-verify"),
    (r"\bnames='(\w+)'", r"--names \1"),
    (
        r"Python leaves '~' as it is: os\.path\.expanduser\(.*?\)\.",
        "A shell leaves '~' as it is between quotes.",
    ),
    (r"torch\.save\(torch\.load\(.*\)", r'python -c "import torch; \g<0>"'),
)


def as_typed(text: str) -> str:
    """An error's text for who cannot type Python.

    >>> as_typed("verify=False reads them as they are.")
    '--no-verify reads them as they are.'
    """
    for pattern, replacement in _TYPED:
        text = re.sub(pattern, replacement, text)
    return text
