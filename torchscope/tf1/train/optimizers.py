"""TensorFlow's update rules, each a torch optimizer.

In formulas ``w`` are variables, ``g`` their gradients, and ``rate`` is the learning rate.
"""

# The functions over lists are documented in torch, under these names.
# pyright: reportPrivateImportUsage=false

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ._rule import Group, RuleOptimizer, Slots, Tensors

__all__ = [
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
    "RMSPropOptimizer",
]


class GradientDescentOptimizer(RuleOptimizer):
    """``w -= rate * g``.

    Torch: ``torch.optim.SGD``, the same.

    Args:
        params: ``net.named_parameters()``, or groups; as for all that follow.
        learning_rate: a number, or a function without arguments, called once a step.
        use_locking: accepted, as TensorFlow's.
        name: accepted; there are no slots to be named.
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
        _subtract(w, g, group["lr"])


class MomentumOptimizer(RuleOptimizer):
    """``a = momentum * a + g; w -= rate * a``, or ``rate * (g + momentum * a)`` by Nesterov.

    Torch: ``torch.optim.SGD(momentum=)``, the same; but rows without a gradient keep their ``a``.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        momentum: share of the accumulated gradient that is kept.
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
        _subtract(w, a, group["lr"])


class AdamOptimizer(RuleOptimizer):
    """Adam, with epsilon outside of the bias correction ("epsilon hat").

    Torch: ``torch.optim.Adam`` divides by ``sqrt(v / (1 - beta2**t)) + epsilon``; here epsilon is
    added to ``sqrt(v)``, which in the first steps counts for up to 30 times as much.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        beta1: share of the mean of gradients that is kept.
        beta2: share of the mean of squares that is kept.
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
        if not is_compiling():  # Numbers are faster; compiled, they would be constants.
            power1, power2 = float(power1), float(power2)
        torch._foreach_lerp_(m, g, 1 - group["beta1"])
        torch._foreach_mul_(v, group["beta2"])
        torch._foreach_addcmul_(v, g, g, 1 - group["beta2"])
        root = torch._foreach_sqrt(v)
        torch._foreach_add_(root, group["epsilon"])
        _subtract_quotient(w, m, root, group["lr"] * (1 - power2) ** 0.5 / (1 - power1))


class RMSPropOptimizer(RuleOptimizer):
    """``ms = mean of g**2; mom = momentum * mom + rate * g / sqrt(ms + epsilon); w -= mom``.

    Torch: ``torch.optim.RMSprop`` adds epsilon outside the root, begins ``ms`` at 0 (here at 1),
    and keeps the rate out of ``mom``.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        decay: share of the mean of squares that is kept.
        momentum: share of the last step that is kept.
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
        _subtract_quotient(mom, g, root, -group["lr"])
        torch._foreach_sub_(w, mom)


class AdagradOptimizer(RuleOptimizer):
    """``a += g**2; w -= rate * g / sqrt(a)``.

    Torch: ``torch.optim.Adagrad(initial_accumulator_value=0.1, eps=0)``.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        initial_accumulator_value: what ``a`` begins at.
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
        _check_positive("AdagradOptimizer", initial_accumulator_value)
        settings = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, learning_rate, name, settings)

    def _first_values(self, group: Group) -> dict[str, float]:
        return {"accumulator": group["initial_accumulator_value"]}

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        (a,) = slots
        torch._foreach_addcmul_(a, g, g)
        _subtract_quotient(w, g, torch._foreach_sqrt(a), group["lr"])


class AdadeltaOptimizer(RuleOptimizer):
    """Steps as large as the mean of the last ones, by the mean of gradients.

    Torch: ``torch.optim.Adadelta``, the same, but for its defaults (there 1.0, 0.9, 1e-6).

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        rho: share of both means that is kept.
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
        _subtract(w, steps, group["lr"])


class FtrlOptimizer(RuleOptimizer):
    """Follow the regularized leader (McMahan et al.): small weights become exactly zero.

    The first step of a dense gradient forgets the value that a variable had: what is followed is
    ``z``, which begins at 0.

    Torch: none.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        learning_rate_power: of the accumulated squares; zero or negative.
        initial_accumulator_value: what these begin at.
        l1_regularization_strength: zero or positive.
        l2_regularization_strength: zero or positive.
        use_locking: accepted, as TensorFlow's.
        name: of the slots.
        accum_name: of the accumulated squares; ``name`` by default.
        linear_name: of ``z``; ``name`` by default.
        l2_shrinkage_regularization_strength: of a penalty that ``z`` alone sees.

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
        l1, l2 = group["l1_regularization_strength"], group["l2_regularization_strength"]
        shrinkage = group["l2_shrinkage_regularization_strength"]
        power = -group["learning_rate_power"]
        before = _power(n, power)
        torch._foreach_addcmul_(n, g, g)
        after = _power(n, power)
        torch._foreach_add_(z, g)
        if shrinkage:
            torch._foreach_add_(z, w, alpha=2 * shrinkage)
        grown = torch._foreach_sub(after, before)
        torch._foreach_mul_(grown, w)
        _subtract(z, grown, 1 / group["lr"])
        torch._foreach_div_(after, group["lr"])
        torch._foreach_add_(after, 2 * l2)
        steps = _clamped(z, l1)
        torch._foreach_sub_(steps, z)
        torch._foreach_div_(steps, after)
        for variable, value in zip(w, steps, strict=True):
            variable.copy_(value)


class ProximalGradientDescentOptimizer(RuleOptimizer):
    """Gradient descent, and after it a step towards zero (FOBOS, Duchi et al.).

    Torch: none.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        l1_regularization_strength: what a weight is moved by.
        l2_regularization_strength: what it is divided by.
        use_locking: accepted, as TensorFlow's.
        name: accepted; there are no slots to be named.
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
        _subtract(w, g, group["lr"])
        if l1:
            torch._foreach_sub_(w, _clamped(w, l1 * float(group["lr"])))
        torch._foreach_div_(w, 1 + l2 * group["lr"])


class ProximalAdagradOptimizer(RuleOptimizer):
    """Adagrad, and after it a step towards zero, as large as its rate for each weight.

    Torch: none.

    Args:
        params: ``net.named_parameters()``, or groups.
        learning_rate: a number, or a function without arguments, called once a step.
        initial_accumulator_value: what the sum of squares begins at.
        l1_regularization_strength: what a weight is moved by.
        l2_regularization_strength: what it is divided by.
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
        _check_positive("ProximalAdagradOptimizer", initial_accumulator_value)
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


def _subtract(tensors: Tensors, steps: Tensors, rate: Any) -> None:
    """``tensors -= rate * steps``."""
    if isinstance(rate, Tensor):
        torch._foreach_sub_(tensors, torch._foreach_mul(steps, rate))
    else:
        torch._foreach_add_(tensors, steps, alpha=-rate)


def _subtract_quotient(tensors: Tensors, above: Tensors, below: Tensors, rate: Any) -> None:
    """``tensors -= rate * above / below``; ``below`` may be changed."""
    if isinstance(rate, Tensor):
        torch._foreach_div_(below, rate)
        rate = 1
    torch._foreach_addcdiv_(tensors, above, below, -rate)


def _clamped(tensors: Tensors, bound: float) -> Tensors:
    return torch._foreach_clamp_min(torch._foreach_clamp_max(tensors, bound), -bound)


def _power(tensors: Tensors, exponent: float) -> Tensors:
    root = exponent == 0.5
    return torch._foreach_sqrt(tensors) if root else torch._foreach_pow(tensors, exponent)


def _check_positive(function: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{function}(): initial_accumulator_value={value} has to be positive.")
