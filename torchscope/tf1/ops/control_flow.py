"""cond, case, while_loop, and functions that order operations, run at once; no arithmetic.

TensorFlow builds all branches and runs one; here the others are never called.  So a variable that
only one branch makes is made when that branch is first taken, and a mismatch between branches is
not noticed before that.

Compiled code cannot look at a value: there cond and while_loop become ``torch.cond`` and
``torch.while_loop``, which allow no side effects and no loop variable that changes its shape.
"""

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1 import nest
from torchscope.tf1._arguments import one_int, renamed
from torchscope.tf1._convert import boolean, name_of, tensor

from .shapes import TensorShape
from .tensor_array import TensorArray

__all__ = ["case", "cond", "group", "no_op", "tuple", "while_loop", "with_dependencies"]

_while_loop: Any = torch.while_loop  # pyright: ignore[reportUnknownVariableType]

_BOOLS = (bool, torch.SymBool)


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """The result of one of two functions.

    Torch: ``true_fn() if pred else false_fn()``, and ``torch.cond`` in compiled code.  The other
    function is not called, so variables that only it makes do not exist, and whether the results
    of the two match is not checked.

    >>> import torchscope.tf1 as tf
    >>> x = tf.constant(3.0)
    >>> tf.cond(x > 2, lambda: x * 2, lambda: x)
    tensor(6.)

    Args:
        pred: a boolean tensor, rank 0; or a Python bool, since ``tf.shape(x)[0] > 1`` is one here.
        true_fn: called without arguments; gives tensors, numbers, or nested lists of them.
        false_fn: likewise.
        strict: True to leave a list of one tensor a list.
        name: accepted.
        fn1: ``true_fn`` before 1.0.
        fn2: ``false_fn`` before 1.0.

    Raises:
        TypeError: ``pred`` is not boolean, or one of the two cannot be called.
    """
    if_true: Any = renamed("cond", true_fn=true_fn, fn1=fn1)
    if_false: Any = renamed("cond", false_fn=false_fn, fn2=fn2)
    for argument, function in (("true_fn", if_true), ("false_fn", if_false)):
        if not callable(function):
            raise TypeError(f"cond(): {argument} has to be callable, not {function!r}.")
    if not isinstance(pred, _BOOLS):  # such as tf.shape(x)[0] > 1
        pred = _scalar(pred, "cond")

    if isinstance(pred, _BOOLS):
        result = _tensors(if_true() if pred else if_false())
    elif torch.compiler.is_compiling():
        result = torch.cond(pred, lambda: _copies(if_true()), lambda: _copies(if_false()), ())
    elif pred.is_meta:  # Nobody knows, so that a build makes the variables of both.
        result = _tensors(if_true())
        if_false()
    else:
        result = _tensors(if_true() if pred else if_false())
    return result if strict else _without_list(result)


def smart_cond(
    pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str | None = None
) -> Any:
    """The result of one of two functions, chosen by a Python bool or a boolean tensor.

    Torch: ``true_fn() if pred else false_fn()``.
    """
    if isinstance(pred, (bool, int)):
        return true_fn() if pred else false_fn()
    return cond(pred, true_fn, false_fn)


def case(
    pred_fn_pairs: Iterable[Any],
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """The result of the function of the first true predicate, or ``default()``.

    Torch: ``if``, ``elif`` and ``else``; see ``cond``.

    Args:
        pred_fn_pairs: a list of pairs, or a dict, of boolean tensors, rank 0, and functions without
            arguments.
        default: called if none is true.
        exclusive: whether it is an error if two are true.
        strict: True to leave a list of one tensor a list.
        name: accepted.

    Raises:
        TypeError: they are not pairs of a boolean tensor and a function.
        ValueError: two are true with ``exclusive``; or none is, without a ``default``.
    """
    pairs = _pairs(pred_fn_pairs)
    if default is not None and not callable(default):
        raise TypeError(f"case(): default has to be callable, not {default!r}.")
    if exclusive:
        true = sum(bool(pred) for pred, _ in pairs if not _is_unknown(pred))
        if true > 1:
            raise ValueError(f"case(): {true} predicates are true, though exclusive=True.")
    unknown = any(_is_unknown(pred) for pred, _ in pairs)
    if default is None and unknown:  # Nobody can tell whether none is true.
        *pairs, (_, default) = pairs
    return _first_true(pairs, default or _no_default, strict)


def _first_true(pairs: list[Any], default: Callable[[], Any], strict: bool) -> Any:
    if not pairs:
        result = _tensors(default())
        return result if strict else _without_list(result)
    (pred, function), *others = pairs
    return cond(pred, function, lambda: _first_true(others, default, strict), strict)


def _is_unknown(pred: Any) -> bool:
    return isinstance(pred, Tensor) and (torch.compiler.is_compiling() or pred.is_meta)


def _pairs(pred_fn_pairs: Any) -> list[builtins.tuple[Any, Callable[[], Any]]]:
    if isinstance(pred_fn_pairs, Mapping):
        pred_fn_pairs = list(cast("Mapping[Any, Any]", pred_fn_pairs).items())
    if not isinstance(pred_fn_pairs, (list, builtins.tuple)) or not pred_fn_pairs:
        raise TypeError(f"case(): pred_fn_pairs is a list of pairs, not {pred_fn_pairs!r}.")
    pairs = list(cast("list[Any]", pred_fn_pairs))
    for pair in pairs:
        pred, function = pair if _is_pair(pair) else (None, None)
        if not (isinstance(pred, (Tensor, *_BOOLS)) and callable(function)):
            raise TypeError(f"case(): {pair!r} is not a pair of a boolean tensor and a function.")
    return pairs


def _is_pair(value: Any) -> bool:
    return isinstance(value, builtins.tuple) and len(cast("Any", value)) == 2


def _no_default() -> Any:
    raise ValueError("case(): no predicate is true, and there is no default.")


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Call ``body`` while ``cond`` is true; returns the final loop variables.

    Torch: ``while cond(*v): v = body(*v)``, and ``torch.while_loop`` in compiled code.

    >>> import torchscope.tf1 as tf
    >>> tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2.0), [0, 1.0])
    [tensor(3, dtype=torch.int32), tensor(8.)]

    Args:
        cond: called with the loop variables, gives a boolean tensor, rank 0.
        body: called likewise, returns the next ones, of the same number, dtypes and shapes.
        loop_vars: a list or tuple of tensors, numbers, TensorArrays or nested lists of them.
        shape_invariants: a shape for each of them, with None for a size that may change.
        parallel_iterations: accepted.
        back_prop: False for results without gradients.
        swap_memory: accepted.
        name: accepted.
        maximum_iterations: the largest number of calls of ``body``.
        return_same_structure: True to leave a single loop variable in its list.

    Raises:
        TypeError: ``cond`` or ``body`` cannot be called; a loop variable changes its dtype.
        ValueError: no loop variables, another number of them, or one changes its shape.
    """
    if not callable(cond) or not callable(body):
        raise TypeError("while_loop(): cond and body have to be callable.")
    if not loop_vars:
        raise ValueError("while_loop(): there are no loop variables.")
    loop_vars = loop_vars if nest.is_nested(loop_vars) else [loop_vars]
    values = _tensors(loop_vars)
    shapes = _shapes_kept(values, shape_invariants)
    limit = maximum_iterations
    limit = None if limit is None else one_int(limit, "while_loop", "maximum_iterations")

    with torch.set_grad_enabled(back_prop and torch.is_grad_enabled()):
        if torch.compiler.is_compiling():
            values = _compiled_loop(cond, body, values, limit)
        else:
            values = _loop(cond, body, values, shapes, limit)
    if not back_prop:
        values = nest.map_structure(_detached, values)
    return values[0] if len(values) == 1 and not return_same_structure else values


def _loop(cond: Any, body: Any, values: Any, shapes: list[Any], limit: int | None) -> Any:
    done = 0
    while limit is None or done < limit:
        again = _scalar(cond(*values), "while_loop")
        if not again.is_meta and not again:
            break
        values = _next(values, body(*values), shapes)
        done += 1
        if again.is_meta:  # Nobody knows how often; once tells what there is.
            break
    return values


def _compiled_loop(cond: Any, body: Any, values: Any, limit: int | None) -> Any:
    def goes_on(count: Tensor, *flat: Tensor) -> Tensor:
        again = _scalar(cond(*nest.pack_sequence_as(values, flat)), "while_loop")
        return again if limit is None else again & (count < limit)

    def once(count: Tensor, *flat: Tensor) -> Any:
        result = body(*nest.pack_sequence_as(values, flat))
        return count + 1, *nest.flatten(_copies(result))

    count = torch.zeros((), dtype=torch.int64)
    last = _while_loop(goes_on, once, (count, *nest.flatten(_copies(values))))
    return nest.pack_sequence_as(values, last[1:])


def _shapes_kept(values: Any, shape_invariants: Any) -> list[Any]:
    """The shape that each leaf has to keep, None for one that may change."""
    if shape_invariants is None:
        return [
            TensorShape(v.shape) if isinstance(v, Tensor) else None for v in nest.flatten(values)
        ]
    shapes = nest.flatten(shape_invariants)
    for value, shape in zip(nest.flatten(values), shapes, strict=True):
        if isinstance(value, Tensor) and not TensorShape(shape).is_compatible_with(value.shape):
            raise ValueError(
                f"while_loop(): a loop variable has shape {list(value.shape)}, which its"
                f" shape_invariants {list(shape)} do not allow."
            )
    return shapes


def _next(values: Any, result: Any, shapes: list[Any]) -> Any:
    """The loop variables that the body returned, if they may follow ``values``."""
    result = _tensors(result if nest.is_nested(result) else [result])
    nest.assert_same_structure(list(values), list(result))
    found = nest.flatten(result)
    for before, after, shape in zip(nest.flatten(values), found, shapes, strict=True):
        if not isinstance(before, Tensor):
            continue
        if before.dtype is not after.dtype:
            raise TypeError(
                f"while_loop(): a loop variable was {name_of(before.dtype)} and is"
                f" {name_of(after.dtype)} after the body; tf.cast it."
            )
        if shape is not None and not TensorShape(shape).is_compatible_with(after.shape):
            raise ValueError(
                f"while_loop(): a loop variable had shape {list(before.shape)} and has"
                f" {list(after.shape)} after the body. To let it change:"
                " shape_invariants=[tf.TensorShape([None, ...]), ...]."
            )
    return nest.pack_sequence_as(values, found)


def group(*inputs: Any, **kwargs: Any) -> None:
    """Do nothing: what is grouped has happened already.

    Raises:
        ValueError: a keyword other than ``name``.
        TypeError: a number or a string.
    """
    for leaf in nest.flatten(list(inputs)):
        if isinstance(leaf, (int, float, str)):
            raise TypeError(f"group(): {leaf!r} is neither a tensor nor an operation's result.")
    if unknown := set(kwargs) - {"name"}:
        raise ValueError(f"group(): unknown keywords {sorted(unknown)}.")


def no_op(name: str | None = None) -> None:
    """Do nothing."""


def tuple(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The tensors in a list: all of them have been computed already.

    Torch: nothing.

    Raises:
        ValueError: there is none.
    """
    made = [_tensors(t) for t in tensors]
    if all(t is None for t in made):
        raise ValueError("tuple(): there is no tensor.")
    return made


def with_dependencies(dependencies: Any, output_tensor: Any, name: str | None = None) -> Tensor:
    """The tensor: what it depends on has happened already.

    Torch: nothing.
    """
    return tensor(output_tensor)


def _scalar(pred: Any, function: str) -> Tensor:
    pred = boolean(pred, function, "pred")
    if pred.ndim:
        raise ValueError(f"{function}(): pred has shape {list(pred.shape)} and has to be one bool.")
    return pred


def _tensors(structure: Any) -> Any:
    """Its numbers as tensors; None, the result of an operation without one, stays."""
    return (
        nest.map_structure(_tensor, structure) if nest.is_nested(structure) else _tensor(structure)
    )


def _tensor(value: Any) -> Any:
    return value if value is None or isinstance(value, TensorArray) else tensor(value)


def _copies(structure: Any) -> Any:
    """Tensors that share no memory with others, as ``torch.cond`` wants them."""
    return nest.map_structure(_copy, structure)


def _copy(value: Any) -> Tensor:
    return tensor(value).clone()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _without_list(result: Any) -> Any:
    if isinstance(result, (list, builtins.tuple)) and len(cast("Any", result)) == 1:
        return cast("Any", result[0])
    return cast("Any", result)
