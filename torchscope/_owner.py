"""Which store this thread is in, and what a variable was declared with; made for optimizers.

They are given variables, and see neither the store that declared them nor the pass that runs.
"""

import torch

from ._declare import Constraint
from ._here import here
from ._store import VariableStore, counting, living


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
    with counting:
        stores = list(living)
    for store in stores:
        for declaration in list(store._declared.values()):
            if declaration.constraint is not None and store._fetch(declaration) is variable:
                return declaration.constraint
    return None
