"""What a module holds, for people to read: a tree of scopes as text, HTML and a dictionary."""

from ._rows import Named, called, named, places
from ._summary import Summary, overview

__all__ = ["Named", "Summary", "called", "named", "overview", "places"]
