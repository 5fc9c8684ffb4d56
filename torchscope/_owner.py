"""Which store this thread is in, and what a variable was declared with; made for optimizers.

They are given variables, and see neither the store that declared them nor the pass that runs.
"""

import torch

from ._arguments import Constraint
from ._pass import here
from ._store import VariableStore, living
from ._walk import items


def entered_store() -> VariableStore | None:
    """The store whose pass this is; None where none was entered, also if the default one serves.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     ts.entered_store() is store
    True
    >>> ts.entered_store()
    """
    return here.passes[-1].store if here.passes else None


def constraint_of(variable: torch.Tensor) -> Constraint | None:
    """What ``get_variable(constraint=...)`` was given for a variable, whichever store has it.

    >>> import torch, torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     w = ts.get_variable("w", [2], constraint=torch.relu)
    >>> ts.constraint_of(w) is torch.relu
    True
    """
    for store in living.copy():
        for _, made in items(store._declared):
            if made.constraint is not None and store._fetch(made.key) is variable:
                return made.constraint
    return None
