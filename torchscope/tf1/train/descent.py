"""Gradient descent, with momentum, and with a step towards zero.

In formulas ``w`` are variables, ``g`` their gradients, and ``rate`` is the learning rate.
"""

# The functions over lists are documented in torch, under these names.
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch

from ._lists import Tensors, clamped, subtract
from ._rule import Group, RuleOptimizer, Slots

__all__ = [
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "ProximalGradientDescentOptimizer",
]


class GradientDescentOptimizer(RuleOptimizer):
    """``w -= rate * g``.

    Torch: ``torch.optim.SGD``, the same.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        use_locking: accepted, as TensorFlow's.
        name: accepted; there are no slots to name.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        use_locking: bool = False,
        name: str = "GradientDescent",
    ) -> None:
        super().__init__(params, learning_rate, name, {})

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        subtract(w, g, group["lr"])


class MomentumOptimizer(RuleOptimizer):
    """``a = momentum * a + g; w -= rate * a``, or ``rate * (g + momentum * a)`` by Nesterov.

    Torch: ``torch.optim.SGD(momentum=)``, the same; here rows without a gradient keep their ``a``.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        momentum: weight of the accumulated gradient.
        use_locking: accepted, as TensorFlow's.
        name: of the slot.
        use_nesterov: whether to look ahead.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        momentum: float = 0.0,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        settings = {"momentum": momentum, "use_nesterov": use_nesterov}
        super().__init__(params, learning_rate, name, settings)

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        momentum = group["momentum"]
        (a,) = slots
        torch._foreach_mul_(a, momentum)
        torch._foreach_add_(a, g)
        if group["use_nesterov"]:
            a = torch._foreach_add(g, a, alpha=momentum)
        subtract(w, a, group["lr"])


class ProximalGradientDescentOptimizer(RuleOptimizer):
    """Gradient descent, followed by a step towards zero (FOBOS, Duchi et al.).

    Torch: none.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        l1_regularization_strength: a weight moves towards zero by ``rate * l1``.
        l2_regularization_strength: a weight is divided by ``1 + rate * l2``.
        use_locking: accepted, as TensorFlow's.
        name: accepted; there are no slots to name.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        settings = {
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
        }
        super().__init__(params, learning_rate, name, settings)

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        l1, l2 = group["l1_regularization_strength"], group["l2_regularization_strength"]
        subtract(w, g, group["lr"])
        if l1:
            torch._foreach_sub_(w, clamped(w, l1 * float(group["lr"])))
        torch._foreach_div_(w, 1 + l2 * group["lr"])
