"""Optimizer: the base class of all optimizers, also of users'; knows no rule."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

import torchscope as ts

GradientsAndVariables = Iterable[tuple[Tensor | None, Tensor]]


class Optimizer:
    """Derive an optimizer from this, with its own ``apply_gradients``.

    Torch: ``torch.optim.Optimizer``, from which those of this module also derive.

    Args:
        use_locking: accepted, as TensorFlow's.
        name: the result of ``get_name``.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    def __init__(self, use_locking: bool = False, name: str | None = None) -> None:
        self._name = name or type(self).__name__

    def get_name(self) -> str:
        """The name given to the constructor, by default the rule's."""
        return self._name

    def minimize(
        self,
        loss: Tensor,
        global_step: Tensor | None = None,
        var_list: Sequence[Tensor] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Tensor | None = None,
    ) -> None:
        """Take one step against the gradients of a loss, now.

        Torch: ``loss.backward()`` and ``optimizer.step()``.

        Args:
            loss: a scalar, or a tensor, whose sum is used.
            global_step: a variable that is increased by one.
            var_list: the variables to train; all of the optimizer's by default.
            gate_gradients: accepted; it means something only in a graph.
            aggregation_method: likewise.
            colocate_gradients_with_ops: likewise.
            name: likewise.
            grad_loss: the gradient with respect to ``loss``, ones by default.

        Raises:
            ScopeError: inside the pass of a net: it would train at every forward.
            ValueError: no variable has a gradient.
        """
        self._refuse_in_pass("minimize")
        variables = self._variables(var_list, "minimize")
        self.apply_gradients(_gradients(loss, variables, grad_loss), global_step)

    def compute_gradients(
        self,
        loss: Tensor,
        var_list: Sequence[Tensor] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Tensor | None = None,
    ) -> list[tuple[Tensor | None, Tensor]]:
        """The gradients of a loss with their variables; arguments as for ``minimize``.

        The graph is retained, so that gradients of other losses of the same forward can follow.

        Torch: ``torch.autograd.grad``.
        """
        variables = self._variables(var_list, "compute_gradients")
        return _gradients(loss, variables, grad_loss, retain_graph=True)

    def apply_gradients(
        self,
        grads_and_vars: GradientsAndVariables,
        global_step: Tensor | None = None,
        name: str | None = None,
    ) -> None:
        """Take a step by these gradients, now."""
        raise NotImplementedError(f"{type(self).__name__} has to define apply_gradients.")

    def _variables(self, var_list: Sequence[Tensor] | None, function: str) -> list[Tensor]:
        return list(ts.trainable_variables() if var_list is None else var_list)

    def _refuse_in_pass(self, function: str) -> None:
        """Overridden by optimizers that must not run inside a pass."""


def _gradients(
    loss: Tensor, variables: list[Tensor], grad_loss: Tensor | None, *, retain_graph: bool = False
) -> list[tuple[Tensor | None, Tensor]]:
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise ValueError(f"No gradients: {loss!r} does not depend on a trainable variable.")
    incoming = torch.ones_like(loss) if grad_loss is None else grad_loss
    trained = [variable for variable in variables if variable.requires_grad]
    found = torch.autograd.grad(
        loss, trained, incoming, retain_graph=retain_graph, allow_unused=True
    )
    gradients = dict(zip(trained, found, strict=True))
    return [(gradients.get(variable), variable) for variable in variables]
