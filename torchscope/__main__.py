"""``python -m torchscope``, and the script ``torchscope``: where the command line begins."""

import sys

from .command_line import main

if __name__ == "__main__":
    sys.exit(main())
