"""RuleOptimizer: an update rule of TensorFlow's as a torch optimizer; all but the rules themselves.

A rule is a subclass with the first values of its slots and ``_update``, which changes lists of
variables and slots in place by lists of gradients. A sparse gradient, as from looked-up rows,
is applied by the same rule to its rows only; other rows and their slots stay as they
are. (For Adam that would be wrong: there all rows change. Its gradients are made dense.)
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1._rows import as_rows

from ._lists import Tensors
from ._names import Names, named
from ._slots import read
from .optimizer import GradientsAndVariables, Optimizer

Group = dict[str, Any]
Pair = tuple[Tensor, Tensor]  # a variable and its gradient
Slots = tuple[Tensors, ...]  # for each slot, that of each variable


class RuleOptimizer(Optimizer, torch.optim.Optimizer):
    """What all optimizers here have: steps, groups, slots by TensorFlow's names.

    Args:
        params: ``net.named_parameters()`` or other ``(name, variable)`` pairs, a module, variables
            of the store that is entered, or dicts with such under ``"params"``, each a group with
            settings of its own.
        learning_rate: a number, a tensor of one, or a function without arguments that returns one,
            called once per step.
        name: the slots are named after it.
        settings: the rule's.
    """

    _rows_alone = True  # whether a sparse gradient leaves other rows as they are
    # Powers stored for all variables of a group, and the setting that they are powers of.
    _powers: Mapping[str, str] = {}

    def __init__(self, params: Any, learning_rate: Any, name: str, settings: Group) -> None:
        Optimizer.__init__(self, name=name)
        self._rates: list[Callable[[], Any] | None] = []
        self._slot_names: dict[Tensor, dict[str, str]] = {}
        self._constraints: dict[Tensor, Callable[[Tensor], Tensor]] = {}
        groups = _groups(params, type(self).__name__)
        if learning_rate is None:
            raise TypeError(f"{type(self).__name__}() needs a learning_rate.")
        variables = [variable for group in groups for _, variable in group["params"]]
        if not variables:
            raise ValueError(f"{type(self).__name__}() was given no variables.")
        self._names = Names(variables)
        self._power_names = {power: self._names.alone(power) for power in self._powers}
        torch.optim.Optimizer.__init__(self, groups, {"lr": learning_rate, **settings})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), **{key: vars(self)[key] for key in _OWN}}

    def add_param_group(self, param_group: Group) -> None:
        """Add variables with settings of their own, ``learning_rate`` among them."""
        (group,) = _groups([param_group], type(self).__name__)
        rate = group.get("lr", self.defaults["lr"])
        if callable(rate):
            group["lr"] = None  # from the first step on what it gave
        pairs = group["params"]
        super().add_param_group(group)  # pyright: ignore[reportUnknownMemberType]
        self._rates.append(rate if callable(rate) else None)
        # In TensorFlow settings are float32: 1 - 0.999 is 0.00099998713 there, 1e-5 of it less.
        group |= {k: _single(v) for k, v in group.items() if isinstance(v, float) and k != "lr"}
        for power, factor in self._powers.items():
            group[power] = torch.tensor(group[factor], dtype=torch.float32, device="cpu")
        slots = self._first_values(group)
        for key, variable in pairs:
            self._slot_names[variable] = {
                slot: self._names.beside(key, self._label(slot, group)) for slot in slots
            }
            if (constraint := ts.constraint_of(variable)) is not None:
                self._constraints[variable] = constraint
        as_rows(variable for _, variable in pairs)

    # ---- steps -----------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore
        """Take a step by the variables' ``grad``; variables without one stay, and get no slots.

        Args:
            closure: computes the loss and its gradients, and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._apply(attrgetter("grad"))
        return loss

    @torch.no_grad()
    def apply_gradients(
        self,
        grads_and_vars: GradientsAndVariables,
        global_step: Tensor | None = None,
        name: str | None = None,
    ) -> None:
        """Take a step by these gradients, now; other variables stay as they are.

        Torch: ``optimizer.step()``, which takes the gradients from ``variable.grad``.

        Args:
            grads_and_vars: pairs, as ``compute_gradients`` returns them; a gradient may be None.
            global_step: a variable that is increased by one.
            name: accepted, as TensorFlow's.

        Raises:
            ScopeError: inside the pass of a net: it would train at every forward.
            ValueError: no gradients, or a variable that the optimizer does not hold.
        """
        self._refuse_in_pass("apply_gradients")
        pairs = list(grads_and_vars)
        gradients = {variable: g for g, variable in pairs if g is not None}
        if not gradients:
            raise ValueError("apply_gradients(): no gradients provided for any variable.")
        foreign = [v for v in gradients if v not in self._slot_names]
        if foreign:
            raise ValueError(
                f"apply_gradients(): {len(foreign)} variables are not among those that the"
                f" {type(self).__name__} was made with: optimizer.add_param_group(...) adds some."
            )
        self._apply(gradients.get)
        if global_step is not None:
            global_step.add_(1)

    def _apply(self, gradient_of: Callable[[Tensor], Tensor | None]) -> None:
        work: list[list[Pair]] = []
        for group in self.param_groups:
            asked = [(variable, gradient_of(variable)) for variable in group["params"]]
            pairs = [(variable, g) for variable, g in asked if g is not None]
            for variable, gradient in pairs:
                if gradient.is_sparse and variable in self._constraints:
                    raise RuntimeError(
                        f"{type(self).__name__}: a variable with a constraint has a sparse"
                        " gradient, which TensorFlow refuses. Look its rows up by tf.gather."
                    )
            if not self._rows_alone:
                pairs = [(p, g.to_dense() if g.is_sparse else g) for p, g in pairs]
            work.append(pairs)
        for group, rate, pairs in zip(self.param_groups, self._rates, work, strict=True):
            if rate is not None:
                group["lr"] = rate()
            for piece in _pieces([pair for pair in pairs if not pair[1].is_sparse]):
                variables, gradients = (list(parts) for parts in zip(*piece, strict=True))
                self._update(variables, gradients, self._slots_of(group, variables), group)
            for variable, gradient in pairs:
                if gradient.is_sparse:
                    self._update_rows(group, variable, gradient.coalesce())  # equal rows added up
            for power, factor in self._powers.items():
                group[power].mul_(group[factor])
        for variable, constraint in self._constraints.items():
            if gradient_of(variable) is not None:
                variable.copy_(constraint(variable))

    def _update_rows(self, group: Group, variable: Tensor, gradient: Tensor) -> None:
        index = gradient.indices()[0]
        whole = [variable, *(slot[0] for slot in self._slots_of(group, [variable]))]
        rows, *slots = ([tensor.index_select(0, index)] for tensor in whole)
        self._update(rows, [gradient.values()], tuple(slots), group)
        for tensor, (changed,) in zip(whole, (rows, *slots), strict=True):
            tensor.index_copy_(0, index, changed)

    def _slots_of(self, group: Group, variables: list[Tensor]) -> Slots:
        first = self._first_values(group)
        for variable in variables if first else ():
            if not self.state[variable]:
                made = {slot: torch.full_like(variable, value) for slot, value in first.items()}
                self.state[variable] = made
        return tuple([self.state[variable][slot] for variable in variables] for slot in first)

    # ---- for the rules ---------------------------------------------------------------------

    def _first_values(self, group: Group) -> dict[str, float]:
        """The slots in TensorFlow's order, by its keys, and their first values."""
        return {}

    def _label(self, slot: str, group: Group) -> str:
        """A slot's name after its variable's name, without a number."""
        return self._name

    def _update(self, w: Tensors, g: Tensors, slots: Slots, group: Group) -> None:
        """Change variables and slots in place by gradients; the rate, ``lr``, may be a tensor."""
        raise NotImplementedError

    # ---- slots -----------------------------------------------------------------------------

    def get_slot_names(self) -> list[str]:
        """The keys of the slots, for ``get_slot``."""
        return sorted({slot for slots in self._slot_names.values() for slot in slots})

    def get_slot(self, var: Tensor, name: str) -> Tensor | None:
        """A slot of a variable by its key, such as ``"momentum"``; None if there is none yet."""
        return self.state[var].get(name) if var in self.state else None

    def variables(self) -> list[Tensor]:
        """The optimizer's state: the tensors of ``slot_variables()``."""
        return list(self.slot_variables().values())

    def slot_variables(self) -> dict[str, Tensor]:
        """The optimizer's state, by TensorFlow's names; a slot exists from the first step on.

        >>> import torch, torchscope as ts, torchscope.tf1 as tf
        >>> net = ts.ScopedModule(lambda: (ts.get_variable("w", [2]) ** 2).sum()).build()
        >>> optimizer = tf.train.AdamOptimizer(net.named_parameters())
        >>> optimizer.minimize(net())
        >>> list(optimizer.slot_variables())
        ['beta1_power', 'beta2_power', 'w/Adam', 'w/Adam_1']

        Torch: ``optimizer.state``.
        """
        found = {name: self.param_groups[0][key] for key, name in self._power_names.items()}
        for variable, names in self._slot_names.items():
            if variable in self.state:
                found.update({names[slot]: t for slot, t in self.state[variable].items()})
        return found

    @torch.no_grad()
    def load_slots(
        self, source: str | PathLike[str] | Mapping[str, Any], strict: bool = True
    ) -> list[str]:
        """Load the slots from a TensorFlow checkpoint, to resume its run.

        Everything is checked first: if something does not fit, nothing is changed.

        Torch: ``load_state_dict``, for the result of ``state_dict``.

        Args:
            source: the path of a checkpoint, or a mapping from names to tensors or arrays.
            strict: whether it is an error if the checkpoint has no slots for a variable (because it
                had no gradient in TensorFlow); otherwise such a variable begins without.

        Returns:
            The names that were read.

        Raises:
            CheckpointError: slots are missing, or have another shape.
        """
        wanted = [
            (variable, slot, name)
            for variable, names in self._slot_names.items()
            for slot, name in names.items()
        ]
        shapes = {name: variable.shape for variable, _, name in wanted}
        shapes |= {name: torch.Size() for name in self._power_names.values()}
        groups = [list(names.values()) for names in self._slot_names.values()]
        values = read(source, shapes, [] if strict else groups)
        for variable, slot, name in wanted:
            if name in values:
                self.state[variable][slot] = torch.empty_like(variable).copy_(values[name])
        for group in self.param_groups:
            for key, name in self._power_names.items():
                group[key].copy_(values[name])
        return list(values)

    def _variables(self, var_list: Any, function: str) -> list[Tensor]:
        return list(self._slot_names) if var_list is None else list(var_list)

    def _refuse_in_pass(self, function: str) -> None:
        if ts.entered_store() is not None:
            raise ts.ScopeError(
                None,
                f"{function}() would train at every forward: it is called inside the pass of a net."
                " Return the loss from the function, make the optimizer once outside,"
                f" {type(self).__name__}(net.named_parameters(), ...), and there call"
                f" optimizer.{function}(...) for each step.",
            )


_CACHED = 2**16  # elements of variables to be updated at once on a CPU
_OWN = ("_name", "_rates", "_slot_names", "_constraints", "_names", "_power_names")


def _pieces(pairs: list[Pair]) -> Iterator[list[Pair]]:
    """The pairs in lists short enough for a processor's cache, which a rule reads several times."""
    piece: list[Pair] = []
    size = 0
    for variable, gradient in pairs:
        size += variable.numel() if variable.is_cpu else 0
        if piece and size > _CACHED:
            yield piece
            piece, size = [], variable.numel()
        piece.append((variable, gradient))
    if piece:
        yield piece


def _single(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def _groups(params: Any, function: str) -> list[Group]:
    """Parameter groups, whose ``"params"`` are pairs of a name and a variable."""
    given = [{"params": params}]
    if isinstance(params, (list, tuple)) and params and isinstance(params[0], dict):
        given = cast("list[Group]", params)
    groups = [{**group, "params": named(group["params"], function)} for group in given]
    for group in groups:
        if "learning_rate" in group:
            group["lr"] = group.pop("learning_rate")
    return groups
