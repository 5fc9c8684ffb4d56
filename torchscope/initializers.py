# ruff: noqa: N801  - TensorFlow's names
"""Initial values: ``(shape, dtype) -> Tensor``; knows no variables, names or scopes.

The names, arguments and numbers are TensorFlow 1's. Each class has two names: ``zeros``,
as in ``tf.initializers``, and ``zeros_initializer``, as in ``tf`` itself.

Every instance ``f`` is called as ``f(shape, dtype=None, partition_info=None)``. The dtype of the
call wins over the one given to the class; without either it is torch's default dtype. Values are
made on torch's default device. Random ones come from torch's default generator; with a ``seed``
they come from a generator that is seeded again at every call, so that all calls return the
same values. ``partition_info`` is accepted, as TensorFlow passes it, and not used.

Sizes are read TensorFlow's way: a kernel is ``(..., inputs, outputs)``, so a convolution's is
``(height, width, in, out)``. Given PyTorch's ``(out, in, height, width)``, ``glorot_uniform`` and
its like take ``height`` for the inputs; ``torch.nn.init.xavier_uniform_`` is right for those.
"""

import inspect
import math
import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Number, Real
from typing import Any, ClassVar, TypeAlias, cast

import torch

from ._arguments import as_dtype, as_shape

Initializer: TypeAlias = Callable[..., torch.Tensor]

_linalg: Any = torch.linalg  # Torch does not say what types it takes and gives.

# What is left of a standard deviation of 1 when the normal distribution is cut at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


_NUMBERS = {"factor", "gain", "maxval", "mean", "minval", "scale", "stddev"}


class _Initializer:
    """What all have in common: how the dtype is chosen, and a readable repr."""

    __slots__ = ()  # Each variable keeps its own.

    dtype: torch.dtype | None
    random: ClassVar[bool] = False  # whether a call draws random numbers

    def __call__(
        self, shape: Sequence[int], dtype: torch.dtype | None = None, partition_info: object = None
    ) -> torch.Tensor:
        sizes = as_shape(shape)
        if sizes is None or None in sizes:
            raise TypeError(f"A shape is a list of sizes such as [3, 4], not {shape!r}.")
        wanted = as_dtype(dtype) or as_dtype(self.dtype) or torch.get_default_dtype()
        try:
            return self._make(cast("tuple[int, ...]", sizes), wanted)
        except (TypeError, ValueError, RuntimeError):
            self._check_numbers()  # Looks only now whether one of them is to blame.
            raise

    def _check_numbers(self) -> None:
        """Raise a TypeError for an argument that is not the number that it should be."""
        for name in inspect.signature(type(self)).parameters:
            value = getattr(self, name)
            if name == "seed" and not (value is None or hasattr(value, "__index__")):
                raise TypeError(f"seed is an integer, not {value!r}; for example seed=0.")
            is_number = isinstance(value, (Real, torch.Tensor))
            if name in _NUMBERS and not is_number and not (name == "maxval" and value is None):
                kind = type(self).__name__
                raise TypeError(f"{name} is a number, not {value!r}: {kind}({name}=0.5).")

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        given = {name: getattr(self, name) for name in names}
        shown = (f"{name}={value!r}" for name, value in given.items() if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        raise NotImplementedError


class _FloatInitializer(_Initializer):
    """An initializer of floats; a dtype that cannot hold them is refused."""

    __slots__ = ()

    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.dtype = as_dtype(self.dtype)
        if self.dtype is not None:
            self._check(self.dtype, ValueError)

    def _check(self, dtype: torch.dtype, error: type[Exception] = TypeError) -> None:
        if not dtype.is_floating_point:
            raise error(
                f"{type(self).__name__} makes floating-point values, not {dtype}. "
                "Use a dtype such as torch.float32, or another initializer."
            )

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self._check(dtype)
        # Torch draws no float8 and decomposes no half.
        exact = torch.float32 if dtype.itemsize < 4 else dtype
        values = self._floats(shape, exact)
        return values if exact is dtype else values.to(dtype)

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        raise NotImplementedError


class _Stream(threading.local):
    """The generator of this thread's values that have no seed; None for torch's own stream."""

    generator: torch.Generator | None = None

    def __init__(self) -> None:
        self.own = torch.Generator()  # to be seeded for each variable; a new one takes as long


stream = _Stream()


def _generator(seed: int | None) -> torch.Generator | None:
    if seed is None:
        return stream.generator
    device = torch.get_default_device()
    if device.type == "meta":  # Meta tensors have no values and no generators.
        return None
    return torch.Generator(device).manual_seed(operator.index(seed))


def _draw(
    distribution: str, shape: tuple[int, ...], dtype: torch.dtype, seed: int | None
) -> torch.Tensor:
    """Values in [0, 1), or standard normal ones, truncated at 2 unless ``untruncated``."""
    generator = _generator(seed)
    if distribution == "uniform":
        return torch.rand(shape, generator=generator, dtype=dtype)
    if distribution == "untruncated_normal":
        return torch.randn(shape, generator=generator, dtype=dtype)
    values = torch.empty(shape, dtype=dtype)
    return torch.nn.init.trunc_normal_(values, 0.0, 1.0, -2.0, 2.0, generator=generator)


@dataclass(eq=False, repr=False, slots=True)
class zeros(_Initializer):
    """Zeros of any dtype.

    >>> zeros()([2])
    tensor([0., 0.])

    Args:
        dtype: used where the call names none.
    """

    dtype: torch.dtype | None = None

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        # Torch reads sizes one by one in less time than a tuple.
        return torch.zeros(*shape, dtype=dtype) if shape else torch.zeros(shape, dtype=dtype)


@dataclass(eq=False, repr=False, slots=True)
class ones(_Initializer):
    """Ones of any dtype.

    >>> ones()([2], torch.int32)
    tensor([1, 1], dtype=torch.int32)

    Args:
        dtype: used where the call names none.
    """

    dtype: torch.dtype | None = None

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        # Torch reads sizes one by one in less time than a tuple.
        return torch.ones(*shape, dtype=dtype) if shape else torch.ones(shape, dtype=dtype)


@dataclass(init=False, eq=False, repr=False, slots=True)
class constant(_Initializer):
    """The given values, row by row; if there are too few, the last one fills the rest.

    >>> constant([0, 1, 2])([2, 3])
    tensor([[0., 1., 2.],
            [2., 2., 2.]])

    Args:
        value: a number, a list or tuple of numbers, nested or not, an array or a tensor.
        dtype: used where the call names none.
        verify_shape: whether the shape asked for has to be the shape of ``value``.

    Raises:
        TypeError: ``value`` is none of these; or, at the call, it does not have the shape that
            ``verify_shape`` demands, or Python numbers that the dtype cannot hold.
        ValueError: at the call: there are more values than the shape has room for, or none.
    """

    value: Any
    dtype: torch.dtype | None
    verify_shape: bool

    # Written out, here and for normal distributions: many models make these anew at each get.
    def __init__(
        self, value: Any = 0, dtype: torch.dtype | None = None, verify_shape: bool = False
    ) -> None:
        if type(value) is not float and not (
            isinstance(value, Number | list | tuple) or hasattr(value, "__array__")
        ):
            raise TypeError(f"constant takes a number, a list, a tuple or an array, not {value!r}.")
        self.value = value
        self.dtype = dtype
        self.verify_shape = verify_shape

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        plain = type(self.value) is float and dtype.is_floating_point and not self.verify_shape
        if plain and abs(self.value) <= torch.finfo(dtype).max:  # Beyond, torch.full refuses.
            return torch.full(shape, self.value, dtype=dtype)
        room = math.prod(shape)
        if room == 0:
            return torch.empty(shape, dtype=dtype)
        values = self._tensor(dtype)
        if self.verify_shape and tuple(values.shape) != shape:
            raise TypeError(f"constant has values of shape {tuple(values.shape)}, not {shape}.")
        count = values.numel()
        if not 0 < count <= room:
            raise ValueError(
                f"constant has {count} values; the shape {shape} takes at least 1, at most {room}."
            )
        result = torch.empty(shape, dtype=dtype)
        if count == 1:
            return result.fill_(values.reshape(()))
        flat, given = result.view(-1), values.reshape(-1)
        flat[:count] = given
        flat[count:] = given[-1]
        return result

    def _tensor(self, dtype: torch.dtype) -> torch.Tensor:
        if isinstance(self.value, torch.Tensor):
            return self.value.detach()
        if not hasattr(self.value, "__array__"):
            # TensorFlow casts an array to any dtype, but takes no 1.5 for an int, no 1 for a bool.
            try:
                found = torch.tensor(self.value).dtype
            except (TypeError, ValueError, RuntimeError) as error:
                raise TypeError(
                    f"constant takes a number, a list of numbers or an array, not {self.value!r}."
                ) from error
            if not torch.can_cast(found, dtype):
                raise TypeError(f"constant cannot make {dtype} of {self.value!r}.")
        return torch.tensor(self.value, dtype=dtype)


class _Normal(_FloatInitializer):
    """The arguments of both normal distributions."""

    __slots__ = ("dtype", "mean", "seed", "stddev")

    def __init__(
        self,
        mean: float = 0.0,
        stddev: float = 1.0,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dtype = as_dtype(dtype)
        if dtype is not None:
            self._check(dtype, ValueError)
        self.mean = mean
        self.stddev = stddev
        self.seed = seed
        self.dtype = dtype


class random_normal(_Normal):
    """Values of a normal distribution.

    >>> random_normal(stddev=0.1)([2, 3]).shape
    torch.Size([2, 3])

    Args:
        mean: of the distribution.
        stddev: its standard deviation.
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.

    Raises:
        ValueError: ``dtype`` is not a floating one; at the call a TypeError, as in TensorFlow.
    """

    __slots__ = ()

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        values = _draw("untruncated_normal", shape, dtype, self.seed)
        return values.mul_(self.stddev).add_(self.mean)


class truncated_normal(_Normal):
    """Values of a normal distribution; those beyond two standard deviations are drawn again.

    The result has a standard deviation of 0.88 ``stddev``. ``torch.nn.init.trunc_normal_`` cuts
    at -2 and 2 whatever the deviation, which has no effect at 0.02.

    >>> bool((truncated_normal(stddev=0.02)([1000]).abs() <= 0.04).all())
    True

    Args:
        mean: of the distribution.
        stddev: its standard deviation before the cut.
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.

    Raises:
        ValueError: ``dtype`` is not a floating one; at the call a TypeError, as in TensorFlow.
    """

    __slots__ = ()

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        values = _draw("truncated_normal", shape, dtype, self.seed)
        return values.mul_(self.stddev).add_(self.mean)


@dataclass(eq=False, repr=False, slots=True)
class random_uniform(_FloatInitializer):
    """Values between two bounds, all equally likely; integers too.

    >>> dice = random_uniform(1, 7)([1000], torch.int64)
    >>> dice.unique()
    tensor([1, 2, 3, 4, 5, 6])

    Args:
        minval: the least value.
        maxval: the bound above, itself left out; 1 for floats unless given.
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one or integers.

    Raises:
        ValueError: ``dtype``, here or at the call, is neither, or it is of integers and ``maxval``
            was not given.
    """

    minval: float = 0
    maxval: float | None = None
    seed: int | None = None
    dtype: torch.dtype | None = None

    def _check(self, dtype: torch.dtype, error: type[Exception] = ValueError) -> None:
        if dtype.is_complex or dtype == torch.bool:
            raise error(f"random_uniform makes floats and integers, not {dtype}.")

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self._check(dtype)
        if dtype.is_floating_point:
            return _FloatInitializer._make(self, shape, dtype)
        if self.maxval is None:
            raise ValueError(
                f"random_uniform needs a bound to make {dtype}: random_uniform(0, maxval=10)."
            )
        low, high = (operator.index(cast(int, bound)) for bound in (self.minval, self.maxval))
        return torch.randint(low, high, shape, generator=_generator(self.seed), dtype=dtype)

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        maxval = 1 if self.maxval is None else self.maxval
        values = _draw("uniform", shape, dtype, self.seed)
        return values.mul_(maxval - self.minval).add_(self.minval)


@dataclass(eq=False, repr=False, slots=True)
class uniform_unit_scaling(_FloatInitializer):
    """Uniform values that keep the variance of what they multiply: within sqrt(3 / inputs).

    The inputs are counted as the product of all sizes but the last.

    >>> bool((uniform_unit_scaling()([4, 3, 5]).abs() <= 0.5).all())
    True

    Args:
        factor: the bound is multiplied by it; 1.43 suits relu, 1.15 tanh.
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.

    Raises:
        ValueError: ``dtype`` is not a floating one; at the call a TypeError, as in TensorFlow.
    """

    factor: float = 1.0
    seed: int | None = None
    dtype: torch.dtype | None = None

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        limit = math.sqrt(3 / max(1, math.prod(shape[:-1]))) * self.factor
        return _draw("uniform", shape, dtype, self.seed).mul_(2 * limit).sub_(limit)


@dataclass(eq=False, repr=False, slots=True)
class variance_scaling(_FloatInitializer):
    """Values whose variance is ``scale`` over the number of inputs, outputs, or their average.

    The normal distribution is cut at two standard deviations and widened to have that variance
    again. Early versions of TensorFlow 1 did not widen it; theirs is
    ``truncated_normal(stddev=math.sqrt(scale / inputs))``.

    >>> values = variance_scaling(2.0, mode="fan_out")([400, 50])
    >>> round(values.std().item(), 1)  # sqrt(2 / 50)
    0.2

    Args:
        scale: a positive number.
        mode: what to divide by: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``. Of a kernel
            ``(..., inputs, outputs)`` both numbers are multiplied by the sizes before them.
        distribution: ``"truncated_normal"``, also called ``"normal"``; ``"untruncated_normal"``;
            or ``"uniform"``.
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.

    Raises:
        ValueError: one of these is out of range; or ``dtype`` is not a floating one, at the call a
            TypeError.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        _FloatInitializer.__post_init__(self)
        self._check_numbers()
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, not {self.scale!r}.")
        modes = ("fan_in", "fan_out", "fan_avg")
        if self.mode not in modes:
            raise ValueError(f"mode must be one of {modes}, not {self.mode!r}.")
        distributions = ("truncated_normal", "normal", "untruncated_normal", "uniform")
        if str(self.distribution).lower() not in distributions:
            raise ValueError(
                f"distribution must be one of {distributions}, not {self.distribution!r}."
            )
        self.distribution = self.distribution.lower()

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        fan_in, fan_out = _fans(shape)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        stddev = math.sqrt(self.scale / max(1.0, fans[self.mode]))
        values = _draw(self.distribution, shape, dtype, self.seed)
        if self.distribution == "uniform":
            limit = math.sqrt(3) * stddev
            return values.mul_(2 * limit).sub_(limit)
        if self.distribution == "untruncated_normal":
            return values.mul_(stddev)
        return values.mul_(stddev / _TRUNCATED_STDDEV)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """The numbers of inputs and outputs of a kernel ``(..., inputs, outputs)``."""
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class glorot_uniform(variance_scaling):
    """Uniform values within sqrt(6 / (inputs + outputs)): the default of ``get_variable``.

    >>> bool((glorot_uniform()([400, 200]).abs() <= 0.1).all())
    True

    Args:
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.
    """

    __slots__ = ()

    def __init__(self, seed: int | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)


class glorot_normal(variance_scaling):
    """Truncated normal values with standard deviation sqrt(2 / (inputs + outputs)).

    >>> round(glorot_normal()([20, 30]).std().item(), 1)
    0.2

    Args:
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.
    """

    __slots__ = ()

    def __init__(self, seed: int | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)


class he_normal(variance_scaling):
    """Truncated normal values with standard deviation sqrt(2 / inputs), for relu.

    >>> round(he_normal()([50, 400]).std().item(), 1)
    0.2

    Args:
        seed: makes every call give the same values.
    """

    __slots__ = ()

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class he_uniform(variance_scaling):
    """Uniform values within sqrt(6 / inputs), for relu.

    >>> bool((he_uniform()([600, 50]).abs() <= 0.1).all())
    True

    Args:
        seed: makes every call give the same values.
    """

    __slots__ = ()

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class lecun_normal(variance_scaling):
    """Truncated normal values with standard deviation sqrt(1 / inputs).

    >>> round(lecun_normal()([25, 400]).std().item(), 1)
    0.2

    Args:
        seed: makes every call give the same values.
    """

    __slots__ = ()

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class lecun_uniform(variance_scaling):
    """Uniform values within sqrt(3 / inputs).

    >>> bool((lecun_uniform()([300, 50]).abs() <= 0.1).all())
    True

    Args:
        seed: makes every call give the same values.
    """

    __slots__ = ()

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


@dataclass(eq=False, repr=False, slots=True)
class orthogonal(_FloatInitializer):
    """A matrix with orthonormal columns, or rows if it has fewer rows than columns.

    More than two sizes count as ``(product of all but the last, last)``.

    >>> kernel = orthogonal()([3, 3, 4, 8]).reshape(36, 8)
    >>> torch.allclose(kernel.T @ kernel, torch.eye(8), atol=1e-5)
    True

    Args:
        gain: what the matrix is multiplied by.
        seed: makes every call give the same values.
        dtype: used where the call names none; a floating one.

    Raises:
        ValueError: the shape has fewer than two sizes; or ``dtype`` is not a floating one, at the
            call a TypeError.
    """

    gain: float = 1.0
    seed: int | None = None
    dtype: torch.dtype | None = None

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if len(shape) < 2:
            raise ValueError(f"orthogonal makes matrices and larger; {shape} has too few sizes.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = _linalg.qr(_draw("untruncated_normal", tall, dtype, self.seed))
        q = q * r.diagonal().sign()  # Without this the QR's own signs would favour some matrices.
        matrix = q.T if rows < columns else q
        return matrix.reshape(shape).mul_(self.gain)


@dataclass(eq=False, repr=False, slots=True)
class identity(_FloatInitializer):
    """The identity matrix, square or cut to the shape.

    >>> identity(gain=0.5)([2, 3])
    tensor([[0.5000, 0.0000, 0.0000],
            [0.0000, 0.5000, 0.0000]])

    Args:
        gain: what the matrix is multiplied by.
        dtype: used where the call names none; a floating one.

    Raises:
        ValueError: the shape is not of two sizes; or ``dtype`` is not a floating one, at the call a
            TypeError.
    """

    random: ClassVar[bool] = False
    gain: float = 1.0
    dtype: torch.dtype | None = None

    def _floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if len(shape) != 2:
            raise ValueError(f"identity makes matrices only; {shape} has {len(shape)} sizes.")
        return torch.eye(*shape, dtype=dtype).mul_(self.gain)


zeros_initializer = zeros
ones_initializer = ones
constant_initializer = constant
random_normal_initializer = random_normal
truncated_normal_initializer = truncated_normal
random_uniform_initializer = random_uniform
uniform_unit_scaling_initializer = uniform_unit_scaling
variance_scaling_initializer = variance_scaling
glorot_uniform_initializer = glorot_uniform
glorot_normal_initializer = glorot_normal
he_normal_initializer = he_normal
he_uniform_initializer = he_uniform
lecun_normal_initializer = lecun_normal
lecun_uniform_initializer = lecun_uniform
orthogonal_initializer = orthogonal
identity_initializer = identity
