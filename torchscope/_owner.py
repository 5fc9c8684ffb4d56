"""Which store this thread is in, and a variable's constraint; for optimizers.

An optimizer gets variables, but neither the store that declared them nor the running pass.
"""

import torch

from ._arguments import Constraint
from ._pass import here
from ._store import VariableStore, living


def entered_store() -> VariableStore | None:
    """The store whose pass this is; None if none was entered, so that the default one is used.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     ts.entered_store() is store
    True
    >>> ts.entered_store()
    """
    return here.passes[-1].store if here.passes else None


def constraint_of(variable: torch.Tensor) -> Constraint | None:
    """The ``constraint=`` that a variable was declared with, whichever store has it, or None.

    >>> import torch, torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     w = ts.get_variable("w", [2], constraint=torch.relu)
    >>> ts.constraint_of(w) is torch.relu
    True
    """
    for reference in living.valuerefs():  # A list, made at once: threads may add stores.
        store = reference()
        if store is None:
            continue
        for made in store._declared.copy().values():
            if made.constraint is not None and store._holds(made.key, variable):
                return made.constraint
    return None
