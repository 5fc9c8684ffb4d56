"""The one parser of all commands, and how errors are printed."""

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torchscope._errors import CheckpointError

from . import _checkpoints, _modules, _port
from ._terminal import complain, one_line
from ._wording import as_typed

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


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
        with _warnings_in_one_line(), _signals_raised():
            code: int = options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as head does
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  - at exit it is flushed again
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except _EndedError as error:
        return 128 + error.signal
    except (CheckpointError, OSError) as error:
        return complain(as_typed(str(error)))
    except MemoryError:
        return complain("there is not enough memory.")
    return code


@contextmanager
def _warnings_in_one_line() -> Generator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"torchscope: warning: {one_line(as_typed(str(message)))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class _EndedError(BaseException):
    """The process was told to end."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


@contextmanager
def _signals_raised() -> Generator[None]:
    """Raise where the process is told to end, so that a file half written is removed."""

    def end(number: int, _: Any) -> None:
        raise _EndedError(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup has the other one ignored
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torchscope",
        allow_abbrev=False,
        description="Lists, compares and converts checkpoints, ports TensorFlow 1 programs, and "
        "shows what a net holds and shares.",
        epilog=f"{_checkpoints.SOURCES}\nMore: torchscope list --help, and so on.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _checkpoints.add_commands(commands)
    _port.add_command(commands)
    _modules.add_commands(commands)
    return parser
