"""Rules that use sums of squares: Adagrad, also with a step towards zero, and Ftrl.

In formulas ``w`` are variables, ``g`` their gradients, and ``rate`` is the learning rate.
"""

# The functions over lists are documented in torch, under these names.
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch

from ._lists import Tensors, check_positive, clamped, power_of, subtract, subtract_quotient
from ._rule import Group, RuleOptimizer, Slots

__all__ = [
    "AdagradOptimizer",
    "FtrlOptimizer",
    "ProximalAdagradOptimizer",
]


class AdagradOptimizer(RuleOptimizer):
    """``a += g**2; w -= rate * g / sqrt(a)``.

    Torch: ``torch.optim.Adagrad(initial_accumulator_value=0.1, eps=0)``.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        initial_accumulator_value: the first value of ``a``.
        use_locking: accepted, as TensorFlow's.
        name: of the slot.

    Raises:
        ValueError: ``initial_accumulator_value`` is not positive.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        check_positive("AdagradOptimizer", initial_accumulator_value)
        settings = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, learning_rate, name, settings)

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"accumulator": group["initial_accumulator_value"]}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        (a,) = slots
        torch._foreach_addcmul_(a, g, g)
        subtract_quotient(w, g, torch._foreach_sqrt(a), group["lr"])


class ProximalAdagradOptimizer(RuleOptimizer):
    """Adagrad, followed by a step towards zero by each weight's own rate.

    Torch: none.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        initial_accumulator_value: the first value of the sum of squares.
        l1_regularization_strength: a weight moves towards zero by ``rate * l1``.
        l2_regularization_strength: a weight is divided by ``1 + rate * l2``.
        use_locking: accepted, as TensorFlow's.
        name: of the slot.

    Raises:
        ValueError: ``initial_accumulator_value`` is not positive.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        check_positive("ProximalAdagradOptimizer", initial_accumulator_value)
        settings = {
            "initial_accumulator_value": initial_accumulator_value,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
        }
        super().__init__(params, learning_rate, name, settings)

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"accumulator": group["initial_accumulator_value"]}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        l1, l2 = group["l1_regularization_strength"], group["l2_regularization_strength"]
        (a,) = slots
        torch._foreach_addcmul_(a, g, g)
        rates = torch._foreach_rsqrt(a)
        torch._foreach_mul_(rates, group["lr"])
        torch._foreach_addcmul_(w, g, rates, -1)
        if l1:
            bounds = torch._foreach_mul(rates, l1)
            moved = torch._foreach_minimum(w, bounds)
            moved = torch._foreach_maximum(moved, torch._foreach_neg(bounds))
            torch._foreach_sub_(w, moved)
        torch._foreach_mul_(rates, l2)
        torch._foreach_add_(rates, 1)
        torch._foreach_div_(w, rates)


class FtrlOptimizer(RuleOptimizer):
    """Follow the regularized leader (McMahan et al.): small weights become exactly zero.

    The first step by a dense gradient ignores a variable's value: variables are computed from
    ``z``, which begins at 0.

    Torch: none.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        learning_rate_power: of the accumulated squares; zero or negative.
        initial_accumulator_value: their first value.
        l1_regularization_strength: zero or positive.
        l2_regularization_strength: zero or positive.
        use_locking: accepted, as TensorFlow's.
        name: of the slots.
        accum_name: of the accumulated squares; ``name`` by default.
        linear_name: of ``z``; ``name`` by default.
        l2_shrinkage_regularization_strength: of a penalty that enters only ``z``.

    Raises:
        ValueError: a setting has the wrong sign.
    """

    def __init__(
        self,
        params: Any = None,
        learning_rate: Any = None,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        settings = {
            "learning_rate_power": learning_rate_power,
            "initial_accumulator_value": initial_accumulator_value,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
            "l2_shrinkage_regularization_strength": l2_shrinkage_regularization_strength,
        }
        for setting, value in settings.items():
            if value * (-1 if setting == "learning_rate_power" else 1) < 0:
                wanted = "negative" if setting == "learning_rate_power" else "positive"
                raise ValueError(f"FtrlOptimizer(): {setting}={value} has to be {wanted} or zero.")
        names = {"accum_name": accum_name or name, "linear_name": linear_name or name}
        super().__init__(params, learning_rate, name, settings | names)

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"accum": group["initial_accumulator_value"], "linear": 0.0}

    def _label(self, slot: str, group: Group) -> str:
        return group[f"{slot}_name"]

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        n, z = slots
        if isinstance(group["lr"], float) and not group["lr"]:
            return  # torch.distributed.checkpoint takes such a step to create the slots.
        l1, l2 = group["l1_regularization_strength"], group["l2_regularization_strength"]
        shrinkage = group["l2_shrinkage_regularization_strength"]
        power = -group["learning_rate_power"]
        before = power_of(n, power)
        torch._foreach_addcmul_(n, g, g)
        after = power_of(n, power)
        torch._foreach_add_(z, g)
        if shrinkage:
            torch._foreach_add_(z, w, alpha=2 * shrinkage)
        grown = torch._foreach_sub(after, before)
        torch._foreach_mul_(grown, w)
        subtract(z, grown, 1 / group["lr"])
        torch._foreach_div_(after, group["lr"])
        torch._foreach_add_(after, 2 * l2)
        steps = clamped(z, l1)
        torch._foreach_sub_(steps, z)
        torch._foreach_div_(steps, after)
        for variable, value in zip(w, steps, strict=True):
            variable.copy_(value)
