"""Rules that use averages of gradients and squares: Adam, RMSProp, Adadelta.

In formulas ``w`` are variables, ``g`` their gradients, and ``rate`` is the learning rate.
"""

# The functions over lists are documented in torch, under these names.
# pyright: reportPrivateImportUsage=false

from collections.abc import Mapping
from typing import Any

import torch
from torch.compiler import is_compiling

from ._lists import Tensors, subtract, subtract_quotient
from ._rule import Group, RuleOptimizer, Slots

__all__ = [
    "AdadeltaOptimizer",
    "AdamOptimizer",
    "RMSPropOptimizer",
]


class AdamOptimizer(RuleOptimizer):
    """Adam, with epsilon outside of the bias correction ("epsilon hat").

    Torch: ``torch.optim.Adam`` divides by ``sqrt(v / (1 - beta2**t)) + epsilon``; here epsilon is
    added to ``sqrt(v)``, where in the first steps its effect is up to 30 times as large.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        beta1: decay of the average of gradients.
        beta2: decay of the average of squares.
        epsilon: added to the root of the mean of squares.
        use_locking: accepted, as TensorFlow's.
        name: of the slots.
    """

    _rows_alone = False
    _powers: Mapping[str, str] = {"beta1_power": "beta1", "beta2_power": "beta2"}

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        settings = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}
        super().__init__(params, learning_rate, name, settings)

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"m": 0.0, "v": 0.0}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        m, v = slots
        power1, power2 = group["beta1_power"], group["beta2_power"]
        if not is_compiling():  # Numbers are faster, but constants to compiled code.
            power1, power2 = float(power1), float(power2)
        torch._foreach_lerp_(m, g, 1 - group["beta1"])
        torch._foreach_mul_(v, group["beta2"])
        torch._foreach_addcmul_(v, g, g, 1 - group["beta2"])
        root = torch._foreach_sqrt(v)
        torch._foreach_add_(root, group["epsilon"])
        subtract_quotient(w, m, root, group["lr"] * (1 - power2) ** 0.5 / (1 - power1))


class RMSPropOptimizer(RuleOptimizer):
    """``ms = mean of g**2; mom = momentum * mom + rate * g / sqrt(ms + epsilon); w -= mom``.

    Torch: ``torch.optim.RMSprop`` adds epsilon outside the root, begins ``ms`` at 0 (here at 1),
    and keeps the rate out of ``mom``.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        decay: decay of the average of squares.
        momentum: weight of the last step.
        epsilon: added to the mean of squares.
        use_locking: accepted, as TensorFlow's.
        centered: whether to subtract the square of the mean gradient.
        name: of the slots.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        decay: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        settings = {
            "decay": decay,
            "momentum": momentum,
            "epsilon": epsilon,
            "centered": centered,
        }
        super().__init__(params, learning_rate, name, settings)

    def _first_values(self, group: Group) -> dict[str, float]:
        mg = {"mg": 0.0} if group["centered"] else {}
        return {"rms": 1.0, **mg, "momentum": 0.0}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        ms, *mg, mom = slots
        torch._foreach_mul_(ms, group["decay"])
        torch._foreach_addcmul_(ms, g, g, 1 - group["decay"])
        if mg:
            torch._foreach_lerp_(mg[0], g, 1 - group["decay"])
            root = torch._foreach_addcmul(ms, mg[0], mg[0], -1)
            torch._foreach_add_(root, group["epsilon"])
        else:
            root = torch._foreach_add(ms, group["epsilon"])
        torch._foreach_sqrt_(root)
        torch._foreach_mul_(mom, group["momentum"])
        subtract_quotient(mom, g, root, -group["lr"])
        torch._foreach_sub_(w, mom)


class AdadeltaOptimizer(RuleOptimizer):
    """Steps scaled by the ratio of the average squared steps to the average squared gradients.

    Torch: ``torch.optim.Adadelta``, the same with other defaults (1.0, 0.9, 1e-6).

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        rho: decay of both averages.
        epsilon: added to both.
        use_locking: accepted, as TensorFlow's.
        name: of the slots.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(params, learning_rate, name, {"rho": rho, "epsilon": epsilon})

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"accum": 0.0, "accum_update": 0.0}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        rho, epsilon = group["rho"], group["epsilon"]
        of_gradients, of_steps = slots
        torch._foreach_mul_(of_gradients, rho)
        torch._foreach_addcmul_(of_gradients, g, g, 1 - rho)
        steps, below = (torch._foreach_add(mean, epsilon) for mean in (of_steps, of_gradients))
        torch._foreach_div_(steps, below)
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, g)
        torch._foreach_mul_(of_steps, rho)
        torch._foreach_addcmul_(of_steps, steps, steps, 1 - rho)
        subtract(w, steps, group["lr"])
