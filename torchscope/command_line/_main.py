"""The one parser of all commands, and how errors are printed."""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torchscope._errors import CheckpointError

from . import _checkpoints, _port
from ._terminal import complain, one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; those of the process by default.

    Returns:
        The exit code. Invalid arguments exit at once with 2, as argparse does.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter gets its number
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with _warnings_in_one_line():
            code: int = options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as head does
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  - at exit it is flushed again
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (CheckpointError, OSError) as error:
        return complain(error)
    except MemoryError:
        return complain("there is not enough memory.")
    return code


@contextmanager
def _warnings_in_one_line() -> Generator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"torchscope: warning: {one_line(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torchscope",
        allow_abbrev=False,
        description="Lists, compares and converts checkpoints, and ports TensorFlow 1 programs.",
        epilog=f"{_checkpoints.SOURCES}\nMore: torchscope list --help, and so on.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _checkpoints.add_commands(commands)
    _port.add_command(commands)
    return parser
