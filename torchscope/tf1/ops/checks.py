"""Assert and the like: a program's assumptions, checked at once; compute nothing.

TensorFlow's run with the graph, and only if something depends on them; these run where they are
written.  Reading a value makes the program wait for a GPU; ``python -O`` does not switch them off.
In compiled code a check of values is done on the device, and on the meta device not at all.
"""

import operator
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import ints, one_int, renamed
from torchscope.tf1._convert import Operand, floating, name_of, numeric, tensor, tensor_operands
from torchscope.tf1.dtypes import as_dtype

__all__ = [
    "Assert",
    "Print",
    "assert_equal",
    "assert_greater",
    "assert_greater_equal",
    "assert_integer",
    "assert_less",
    "assert_less_equal",
    "assert_near",
    "assert_negative",
    "assert_non_negative",
    "assert_non_positive",
    "assert_none_equal",
    "assert_positive",
    "assert_rank",
    "assert_rank_at_least",
    "assert_rank_in",
    "assert_scalar",
    "assert_type",
    "check_numerics",
    "is_non_decreasing",
    "is_numeric_tensor",
    "is_strictly_increasing",
    "verify_tensor_all_finite",
]


def Assert(  # noqa: N802  # TensorFlow's name
    condition: Any, data: Any, summarize: int | None = None, name: str | None = None
) -> None:
    """Raise unless a condition holds.

    Torch: ``assert``.

    Args:
        condition: a boolean tensor; all of it has to be true.
        data: what the error shows.
        summarize: accepted.
        name: accepted.

    Raises:
        ValueError: it does not hold (in compiled code: RuntimeError).
    """
    condition = tensor(condition, torch.bool, function="Assert", argument="condition")
    _check(condition, "Assert: the condition does not hold", data=data)


def Print(  # noqa: N802  # TensorFlow's name
    input_: Operand,
    data: Any,
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """The input; prints nothing.

    Torch: ``print``.
    """
    return tensor(input_, function="Print", argument="input_")


def check_numerics(tensor: Operand, message: str, name: str | None = None) -> Tensor:
    """The tensor; ValueError if it has an infinity or a NaN.

    Torch: ``assert x.isfinite().all()``.
    """
    x = floating(tensor, "check_numerics", "tensor")
    _check(x.isfinite(), f"{message}: the tensor has an infinity or a NaN")
    return x


def verify_tensor_all_finite(
    t: Operand = None,
    msg: str | None = None,
    name: str | None = None,
    x: Operand = None,
    message: str | None = None,
) -> Tensor:
    """The tensor, ``t`` or ``x``; ValueError if it has an infinity or a NaN.

    Torch: ``assert x.isfinite().all()``.
    """
    text = renamed("verify_tensor_all_finite", message=message, msg=msg)
    return check_numerics(renamed("verify_tensor_all_finite", x=x, t=t), text)


def _comparing(function: str, sign: str, holds: Callable[[Any, Any], Any]) -> Any:
    """An assertion about two operands that broadcast."""

    def assertion(
        x: Operand,
        y: Operand,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> None:
        if not (type(x) is int and type(y) is int):  # as sizes are
            x, y = tensor_operands(x, y, function, bools=sign in ("==", "!="))
        what = f"{message or function}: x {sign} y does not hold"
        _check(holds(x, y), what, x=x, y=y, data=data)

    assertion.__name__ = assertion.__qualname__ = function
    assertion.__doc__ = (
        f"Raise a ValueError unless ``x {sign} y`` for all elements.\n\n"
        f"Torch: ``assert (x {sign} y).all()``."
    )
    return assertion


assert_equal = _comparing("assert_equal", "==", operator.eq)
assert_none_equal = _comparing("assert_none_equal", "!=", operator.ne)
assert_less = _comparing("assert_less", "<", operator.lt)
assert_less_equal = _comparing("assert_less_equal", "<=", operator.le)
assert_greater = _comparing("assert_greater", ">", operator.gt)
assert_greater_equal = _comparing("assert_greater_equal", ">=", operator.ge)


def _signed(function: str, sign: str, holds: Callable[[Tensor], Tensor]) -> Any:
    """An assertion about the sign of one operand."""

    def assertion(
        x: Operand,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> None:
        x = numeric(x, function)
        _check(holds(x), f"{message or function}: x {sign} 0 does not hold", x=x, data=data)

    assertion.__name__ = assertion.__qualname__ = function
    assertion.__doc__ = (
        f"Raise a ValueError unless ``x {sign} 0`` for all elements.\n\n"
        f"Torch: ``assert (x {sign} 0).all()``."
    )
    return assertion


assert_negative = _signed("assert_negative", "<", lambda x: x < 0)
assert_positive = _signed("assert_positive", ">", lambda x: x > 0)
assert_non_negative = _signed("assert_non_negative", ">=", lambda x: x >= 0)
assert_non_positive = _signed("assert_non_positive", "<=", lambda x: x <= 0)


def assert_near(
    x: Operand,
    y: Operand,
    rtol: Any = None,
    atol: Any = None,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> None:
    """Raise a ValueError unless ``|x - y| <= atol + rtol * |y|`` for all elements.

    Torch: ``torch.testing.assert_close``.  Both tolerances are 10 units of the dtype's precision.
    """
    x, y = tensor_operands(x, y, "assert_near")
    usual = 10 * torch.finfo(x.dtype).eps if x.is_floating_point() else 0
    rtol, atol = (usual if given is None else given for given in (rtol, atol))
    holds = (x - y).abs() <= atol + rtol * y.abs()
    _check(holds, f"{message or 'assert_near'}: x and y differ", x=x, y=y, data=data)


def is_non_decreasing(x: Operand, name: str | None = None) -> Tensor:
    """Whether no element is less than the one before it, as a boolean tensor.

    Torch: ``(x[1:] >= x[:-1]).all()``.
    """
    x = numeric(x, "is_non_decreasing").reshape(-1)
    return (x[1:] >= x[:-1]).all()


def is_strictly_increasing(x: Operand, name: str | None = None) -> Tensor:
    """Whether each element is greater than the one before it, as a boolean tensor.

    Torch: ``(x[1:] > x[:-1]).all()``.
    """
    x = numeric(x, "is_strictly_increasing").reshape(-1)
    return (x[1:] > x[:-1]).all()


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether it is a tensor, and not of booleans.

    Torch: ``x.dtype is not torch.bool``.
    """
    return isinstance(tensor, Tensor) and tensor.dtype is not torch.bool


def assert_rank(
    x: Operand,
    rank: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> None:
    """Raise a ValueError unless the tensor has this rank.

    Torch: ``assert x.ndim == rank``.
    """
    assert_rank_in(x, [rank], data, summarize, message or "assert_rank")


def assert_rank_in(
    x: Operand,
    ranks: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> None:
    """Raise a ValueError unless the tensor has one of these ranks.

    Torch: ``assert x.ndim in ranks``.
    """
    x, ranks = tensor(x), ints(ranks, "assert_rank_in", "ranks")
    if x.ndim not in ranks:
        allowed = " or ".join(map(str, ranks))
        raise ValueError(
            f"{message or 'assert_rank_in'}: x has shape {list(x.shape)} and has to have rank"
            f" {allowed}. {data or ''}"
        )


def assert_rank_at_least(
    x: Operand,
    rank: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> None:
    """Raise a ValueError unless the tensor has this rank or a higher one.

    Torch: ``assert x.ndim >= rank``.
    """
    x, least = tensor(x), one_int(rank, "assert_rank_at_least", "rank")
    if x.ndim < least:
        raise ValueError(
            f"{message or 'assert_rank_at_least'}: x has shape {list(x.shape)} and has to have rank"
            f" {least} or more. {data or ''}"
        )


def assert_scalar(tensor: Operand, name: str | None = None, message: str | None = None) -> Tensor:
    """The tensor; ValueError unless its rank is 0.

    Torch: ``assert x.ndim == 0``.
    """
    assert_rank(tensor, 0, message=message or "assert_scalar")
    return _as_tensor(tensor)


def assert_type(
    tensor: Operand, tf_type: Any, message: str | None = None, name: str | None = None
) -> None:
    """Raise a TypeError unless the tensor has this dtype.

    Torch: ``assert x.dtype is dtype``.
    """
    found, wanted = _as_tensor(tensor).dtype, as_dtype(tf_type)
    if found is not wanted:
        raise TypeError(
            f"{message or 'assert_type'}: the tensor is {name_of(found)} and has to be"
            f" {name_of(wanted)}."
        )


def assert_integer(x: Operand, message: str | None = None, name: str | None = None) -> None:
    """Raise a TypeError unless the tensor is of integers.

    Torch: ``assert not x.dtype.is_floating_point``.
    """
    dtype = tensor(x).dtype
    if dtype.is_floating_point or dtype.is_complex or dtype is torch.bool:
        raise TypeError(
            f"{message or 'assert_integer'}: x is {name_of(dtype)} and has to be an integer."
        )


_as_tensor = tensor  # Some functions here have an argument of that name.


_assert_async: Any = torch._assert_async  # pyright: ignore[reportPrivateImportUsage]


def _check(condition: Tensor | bool, message: str, **shown: Any) -> None:
    """ValueError, which shows some values, unless a bool or all of a boolean tensor is true."""
    if isinstance(condition, Tensor) and torch.compiler.is_compiling():
        _assert_async(condition.all(), message)  # what Dynamo makes of Python's own assert
    elif not _holds(condition):
        values = [f"{name} = {_shown(value)}" for name, value in shown.items() if value is not None]
        raise ValueError(": ".join(filter(None, [message, "; ".join(values)])))


def _holds(condition: Tensor | bool) -> bool:
    if isinstance(condition, bool):
        return condition
    return condition.is_meta or bool(condition.all())


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, cast('list[Any]', value)))}]"
    if not isinstance(value, Tensor):
        return repr(value)
    more = f" and {value.numel() - 10} more" if value.numel() > 10 else ""
    return f"{value.reshape(-1)[:10].tolist() if more else value.tolist()}{more}"
