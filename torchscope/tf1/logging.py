"""tf.logging: does nothing and prints nothing; use Python's own logging."""

from typing import Any

from . import _missing

__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "debug",
    "error",
    "fatal",
    "flush",
    "get_verbosity",
    "info",
    "log",
    "log_every_n",
    "log_first_n",
    "log_if",
    "set_verbosity",
    "vlog",
    "warn",
    "warning",
]

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50

__getattr__ = _missing.of("tf.logging")


def log(level: int, msg: str, *args: Any) -> None:
    """Do nothing.

    Torch: Python's ``logging.log``.
    """


def info(msg: str, *args: Any) -> None:
    """Do nothing."""


debug = warn = warning = error = fatal = info


def vlog(level: int, msg: str, *args: Any) -> None:
    """Do nothing."""


def log_first_n(level: int, msg: str, n: int, *args: Any) -> None:
    """Do nothing."""


log_every_n = log_first_n


def log_if(level: int, msg: str, condition: Any, *args: Any) -> None:
    """Do nothing."""


def flush() -> None:
    """Do nothing."""


def set_verbosity(v: int) -> None:
    """Do nothing."""


def get_verbosity() -> int:
    """``tf.logging.WARN``, TensorFlow's own.

    Torch: Python's ``logging.getLogger().level``.
    """
    return WARN
