"""ExponentialMovingAverage and assign_moving_average; they know no optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1.updates import apply_or_collect

from ._names import Names, in_tensorflow, named

__all__ = ["ExponentialMovingAverage", "assign_moving_average"]


@dataclass
class _Average:
    variable: Tensor
    name: str
    value: Tensor


class ExponentialMovingAverage:
    """Keeps averages of variables: ``average -= (1 - decay) * (average - variable)``.

    >>> import torch, torchscope as ts, torchscope.tf1 as tf
    >>> net = ts.ScopedModule(lambda x: x * ts.get_variable("w", [2])).build(torch.ones(2))
    >>> averages = tf.train.ExponentialMovingAverage(0.99)
    >>> averages.apply(net)  # after each step of the optimizer
    >>> list(averages.state_dict())
    ['w/ExponentialMovingAverage']

    An average begins at its variable's value at the first ``apply``. To evaluate with the averages
    in place of the variables: ``with tf.variable_scope(
    tf.get_variable_scope(), custom_getter=averages.getter):`` inside the model's function.

    Torch: ``torch.optim.swa_utils.AveragedModel(net, get_ema_multi_avg_fn(decay))``, a whole model.

    Args:
        decay: near 1.
        num_updates: a number of steps ``n``, or a function that returns it: then the decay is
            ``(1 + n) / (10 + n)`` at most, so that averages move faster at first.
        zero_debias: accepted; without effect on variables, as in TensorFlow.
        name: averages are named after it.
    """

    def __init__(
        self,
        decay: float,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates: Any = num_updates
        self._name = name
        self._averages: dict[str, _Average] = {}  # by the variable's name
        self._loaded: dict[str, Tensor] = {}  # by the average's name, for those to come
        self._pass = _this_pass()

    @property
    def name(self) -> str:
        """The name that averages are named after."""
        return self._name

    @torch.no_grad()
    def apply(self, var_list: Any = None) -> None:
        """Move the averages towards the variables, now; new ones begin at their values.

        Args:
            var_list: a module, pairs of name and variable, or variables of the store that is
                entered; there, all trainable ones by default.

        Raises:
            TypeError: something that is not a variable, or has no name.
            ScopeError: the averages were made in this pass, and would be lost with it.
        """
        self._outlive_this_pass()
        if isinstance(var_list, torch.nn.Module):
            var_list = [pair for pair in var_list.named_parameters() if pair[1].requires_grad]
        pairs = named(ts.trainable_variables() if var_list is None else var_list, "apply")
        names = Names(variable for _, variable in pairs)
        for key, variable in pairs:
            if in_tensorflow(key) not in self._averages:
                name = names.beside(key, self._name)
                first = self._loaded.get(name, variable)
                value = torch.empty_like(variable).copy_(first)
                self._averages[in_tensorflow(key)] = _Average(variable, name, value)
        share = 1 - self._decay_now()
        for key, variable in pairs:
            self._averages[in_tensorflow(key)].value.lerp_(variable, share)

    def average(self, var: Tensor) -> Tensor | None:
        """The average of a variable; None if it has none.

        Raises:
            ScopeError: the averages were made in this pass, so that there are none.
        """
        self._outlive_this_pass()
        found = self._found(var)
        return None if found is None else found.value

    def average_name(self, var: Tensor) -> str:
        """TensorFlow's name of a variable's average, whether or not there is one yet."""
        found = self._found(var)
        return f"{ts.name_of(var)}/{self._name}" if found is None else found.name

    def variables_to_restore(
        self, moving_avg_variables: list[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """What to read from a checkpoint to evaluate with averages: name there -> variable.

        Args:
            moving_avg_variables: variables to read the averages of; by default all trainable ones
                of the store that is entered, even if they were never averaged.

        Torch: ``checkpoint.load(net, path, {...})`` takes such a mapping of names.
        """
        averaged = moving_avg_variables
        if averaged is None:
            keys = ts.GraphKeys.TRAINABLE_VARIABLES, "moving_average_variables"
            averaged = [variable for key in keys for variable in ts.get_collection(key)]
            averaged += [average.variable for average in self._averages.values()]
        found = {self.average_name(variable): variable for variable in averaged}
        known = {id(variable) for variable in averaged}
        for variable in ts.global_variables():
            if id(variable) not in known:
                found.setdefault(ts.name_of(variable), variable)
        return found

    def getter(self, getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """A custom getter: the averages in place of the variables that have one."""
        variable = getter(name, *args, **kwargs)
        found = self._averages.get(name)
        return variable if found is None else found.value

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by their names."""
        return {average.name: average.value for average in self._averages.values()}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load averages by their names, from ``state_dict`` or a checkpoint.

        Averages of variables that were not averaged yet wait for the first ``apply``.

        Raises:
            KeyError: one is missing; nothing was changed.
        """
        values = [(average.value, state_dict[average.name]) for average in self._averages.values()]
        for value, saved in values:
            value.copy_(saved)
        self._loaded = dict(state_dict)

    def _outlive_this_pass(self) -> None:
        """Refuse averages that were made in this pass."""
        if self._pass is not None and self._pass is _this_pass():
            raise ts.ScopeError(
                None,
                "The averages are made in the pass that uses them, and would begin anew in"
                " each. Make the ExponentialMovingAverage once, outside of the model's function."
                " For a tensor that is not a variable, keep its average as one:"
                " tf.get_variable(name, shape, trainable=False), moved by"
                " tf.train.assign_moving_average(average, tensor, decay, zero_debias=False).",
            )

    def _found(self, var: Tensor) -> _Average | None:
        return next((a for a in self._averages.values() if a.variable is var), None)

    def _decay_now(self) -> float:
        updates = self._num_updates
        if updates is None:
            return self._decay
        if callable(updates):
            updates = cast("float", updates())
        return min(self._decay, (1 + float(updates)) / (10 + float(updates)))


def assign_moving_average(
    variable: Tensor,
    value: Tensor,
    decay: Any,
    zero_debias: bool = True,
    name: str | None = None,
) -> Tensor:
    """Move a variable towards a value: ``variable -= (1 - decay) * (variable - value)``.

    Inside ``tf.collect_updates()`` it waits in UPDATE_OPS.

    Torch: ``variable.lerp_(value, 1 - decay)``, without gradient.

    Args:
        variable: the average.
        value: of its shape.
        decay: near 1.
        zero_debias: whether to correct for the average's start, as if it had begun at ``value``:
            this makes two variables, ``biased`` and ``local_step``, below its name.
        name: accepted, as TensorFlow's.

    Returns:
        The variable.
    """
    biased = local_step = None
    if zero_debias:
        with ts.variable_scope(ts.name_of(variable)):
            settings = variable.dtype, ts.zeros_initializer(), None, False
            biased = ts.get_variable("biased", list(variable.shape), *settings)
            local_step = ts.get_variable("local_step", [], *settings)

    def update() -> None:
        if biased is None or local_step is None:
            ts.assign_sub(variable, (variable - value) * (1 - decay))
            return
        ts.assign_sub(biased, (biased - value) * (1 - decay))
        ts.assign_add(local_step, 1)
        ts.assign(variable, biased / (1 - decay**local_step))

    with torch.no_grad():
        apply_or_collect(update)
    return variable


def _this_pass() -> object | None:
    """An object that is different in each pass; None outside of any."""
    return None if ts.entered_store() is None else ts.in_this_pass(__name__, object)
