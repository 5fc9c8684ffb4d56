"""What is shared: a pass recorded, its report as text and as pictures, assertions for tests."""

from ._assertions import assert_not_shared, assert_shared
from ._data import Fetch, NearMiss, Place, Variable
from ._report import SharingReport
from ._sharing import sharing, summary
from ._ties import Tie

__all__ = [
    "Fetch",
    "NearMiss",
    "Place",
    "SharingReport",
    "Tie",
    "Variable",
    "assert_not_shared",
    "assert_shared",
    "sharing",
    "summary",
]
