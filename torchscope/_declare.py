"""What a variable is declared as, and its first value; knows of no store and no scope."""

import functools
import hashlib
import inspect
import operator
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeAlias, cast

import torch

from ._errors import ScopeError, ScopeWarning, VariableMismatchError, naming
from .initializers import Initializer, glorot_uniform, ones, stream, zeros
from .regularizers import Regularizer

Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = Any  # int | Iterable[int | None] | None, of anything with __index__
DTypeLike: TypeAlias = Any  # torch.dtype | numpy's dtypes | their names | None
Constraint: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class GraphKeys:
    """TensorFlow's names of collections."""

    GLOBAL_VARIABLES = "variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    METRIC_VARIABLES = "metric_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    SUMMARIES = "summaries"
    GLOBAL_STEP = "global_step"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the user's code something was first made."""

    file: str = ""
    line: int = 0

    @classmethod
    def here(cls, inside: int = 0) -> "Origin":
        """The first frame outside torchscope and torch; the ``inside`` innermost calls are in it.

        To look at a frame takes long.
        """
        frame = sys._getframe(1 + inside)
        while frame is not None:
            if not _is_inside(frame.f_globals.get("__name__")):
                return _origin(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back
        return cls()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "an unknown place"


@functools.cache
def _is_inside(module: str | None) -> bool:
    return f"{module}.".startswith(("torchscope.", "torch."))


# What many variables have in common is kept once.
@functools.lru_cache(4096)
def _origin(file: str, line: int) -> Origin:
    return Origin(file, line)


@functools.lru_cache
def _alike(kind: Callable[[Any], Initializer], dtype: torch.dtype | None) -> Initializer:
    return kind(dtype)


@functools.lru_cache(4096)
def _shape(shape: Shape) -> tuple[Shape, list[int]]:
    return tuple(shape), list(shape)


def warn(origin: Origin, message: str) -> None:
    """Warn as if from the user's line."""
    warnings.warn_explicit(message, ScopeWarning, origin.file, origin.line)


@dataclass(slots=True)
class Declaration:
    """What a variable was asked for as, and from then on is; holds no tensor of the store's.

    Until the variable is made, ``shape`` may be None or hold None. After that nothing is assigned
    to it, so that copies of a store share it.
    """

    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype = torch.float32
    initializer: Any = None
    regularizer: Regularizer | None = None
    trainable: bool = True
    collections: tuple[str, ...] = ()
    constraint: Constraint | None = None
    device: torch.device | None = None
    buffer: bool = False
    persistent: bool = True
    default_dtype: bool = False  # nobody said one: it is, or was when made, torch's default
    origin: Any = None  # an Origin, once it is made
    key: str = ""  # in the state dict
    shapeless: bool = False  # the initializer takes no arguments and brings the shape
    sizes: Sequence[int | None] | None = None  # the shape as a list, which most code asks with

    def __deepcopy__(self, memo: dict[int, Any]) -> "Declaration":
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: picklable(getattr(self, name), name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def settle(self, shape: Shape, dtype: torch.dtype) -> None:
        """From now on it has this shape and dtype."""
        self.shape, self.sizes = _shape(shape)
        self.dtype = dtype
        kind = self.initializer.__class__
        if kind is zeros or kind is ones:  # Written at each get, they are all alike.
            self.initializer = _alike(kind, self.initializer.dtype)

    @property
    def by_value(self) -> bool:
        """Whether the initializer is a value, which then brings its own shape and dtype."""
        return self.initializer is not None and not callable(self.initializer)

    @property
    def complete(self) -> bool:
        """Whether the initializer is to be called with the shape."""
        return self.shape is not None and None not in self.shape and not self.shapeless


# A copy in the order of its sizes, whatever the original's: safetensors takes no other.
_DENSE: dict[str, Any] = {"memory_format": torch.contiguous_format}


@dataclass
class _Lost:
    """Stands for a function that pickle could not keep, and says so when it is needed."""

    what: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ScopeError(
            None,
            f"The {self.what} was a function that pickle cannot keep (a lambda, or one defined "
            "inside another), so it is lost in this copy. Define it at the top of a module.",
        )


def picklable(value: Any, what: str) -> Any:
    """``value`` if pickle can keep it; what else would raise is said when it is called."""
    try:
        pickle.dumps(value)
    except Exception:  # Each type raises what it likes.
        return _Lost(what)
    return value


def as_shape(shape: ShapeLike) -> tuple[int | None, ...] | None:
    """``shape`` as a tuple; a lone int is one dimension, None is no shape at all."""
    if shape is None:
        return None
    if not isinstance(shape, (list, tuple)):
        try:
            return (_as_size(operator.index(shape)),)
        except TypeError:
            if isinstance(shape, (str, bytes)) or not isinstance(shape, Iterable):
                raise TypeError(
                    f"A shape is a list of sizes such as [3, 4], not {shape!r}."
                ) from None
    sizes = tuple(cast("Iterable[Any]", shape))
    for size in sizes:
        if type(size) is not int or size < 0:
            return tuple(None if size is None else _as_size(size) for size in sizes)
    return sizes


def _as_size(size: Any) -> int:
    try:
        index = operator.index(size)
    except TypeError:
        raise TypeError(f"A size in a shape is an integer or None, not {size!r}.") from None
    if index < 0:
        raise ScopeError(None, f"A size in a shape cannot be negative: {index}.")
    return index


def as_dtype(dtype: DTypeLike) -> torch.dtype | None:
    """``dtype`` as torch's; numpy's and names such as ``"float32"`` are taken where they are plain.

    Python's ``float`` and ``int`` are not: to TensorFlow they are 32 bits wide, to numpy 64.
    """
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if isinstance(dtype, type):
        plain = dtype is bool or dtype.__module__ == "numpy"
        name = str(dtype.__name__) if plain else None
        name = "bool" if name == "bool_" else name  # numpy 1's
    else:
        name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype):
        raise TypeError(f"{dtype!r} is not a dtype; for example torch.float32.")
    return found


def as_value(value: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """An initializer that is a value, as a tensor of its own dtype.

    ``dtype`` settles only what Python leaves open: the width of an ``int``, as in
    ``initializer=4, dtype=torch.int32``.
    """
    if isinstance(value, torch.Tensor):
        return value
    try:
        tensor = torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{value!r} is no initializer: it takes a function of (shape, dtype), or a value "
            "(a tensor, an array, a number, a list of numbers)."
        ) from error
    python_ints = not hasattr(value, "dtype") and tensor.dtype == torch.int64
    if python_ints and dtype is not None and _is_integer(dtype):
        tensor = tensor.to(dtype)
    return tensor


def _is_integer(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def brings(request: Declaration) -> tuple[tuple[int | None, ...] | None, torch.dtype | None]:
    """Shape and dtype that making ``request`` would give, None where only making it would tell."""
    if request.by_value:
        with naming(request.name):
            value = as_value(request.initializer, request.dtype)
        return tuple(value.shape), value.dtype
    if request.initializer is not None and not request.complete:
        return request.shape, None
    return request.shape, request.dtype


def fits(shape: tuple[int | None, ...] | None, found: tuple[int | None, ...]) -> bool:
    """Whether the shape asked for, which may leave sizes open, is the one found."""
    return shape is None or (
        len(shape) == len(found)
        and all(size is None or size == other for size, other in zip(shape, found, strict=True))
    )


def keeps_all(dtype: torch.dtype | str, wanted: torch.dtype) -> bool:
    """Whether every value of ``dtype`` is one of ``wanted``, too, which is of the same kind."""
    if dtype == wanted or isinstance(dtype, str):
        return dtype == wanted
    kinds = {(d.is_floating_point, d.is_complex, d == torch.bool) for d in (dtype, wanted)}
    try:
        return len(kinds) == 1 and torch.promote_types(dtype, wanted) == wanted
    except RuntimeError:  # For a few torch knows no common dtype.
        return False


def first_value(request: Declaration, seed: int) -> torch.Tensor:
    """The value that ``request``'s initializer gives it, in memory of its own, on the CPU.

    Computed on the CPU whatever the device, so that a seed gives the same values everywhere, and
    from a random stream of the variable's own: the ambient one stays as it was, or activation
    checkpointing would compute wrong gradients (dropout drawing other masks the second time).
    On the meta device there are no values, and an initializer that is not needed is not called.

    Raises:
        ScopeError: neither a shape nor an initializer that brings one.
        VariableMismatchError: the initializer gave another shape, dtype or device, or None.
    """
    initializer = request.initializer
    kind = initializer.__class__
    shape = request.shape
    if (
        (kind is zeros or kind is ones)
        and shape is not None
        and None not in shape
        and request.device == _CPU
        and function_modes() == 0
    ):  # Then it is known to give what is asked for, and nothing has to be kept from it.
        return initializer._make(shape, request.dtype)
    if request.by_value:
        with naming(request.name):
            return as_value(request.initializer, request.dtype).detach().clone(**_DENSE)
    if initializer is None:
        initializer = _default_initializer(request)
    elif isinstance(initializer, type):
        initializer = initializer()
    if not request.complete and not _needs_no_arguments(initializer):
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} needs a full shape to be made, not {request.shape}: "
            f"get_variable({_last(request.name)!r}, [3, 4], ...).",
        )
    if request.complete and request.device is not None and request.device.type == "meta":
        return torch.empty(_sizes(request), dtype=request.dtype, device="meta")
    with own_random_stream(seed, request.name, initializer):
        return _checked(request, _call(initializer, request))


def _default_initializer(request: Declaration) -> Initializer:
    """TensorFlow's: Glorot uniform for floats, zeros for integers and booleans."""
    if request.dtype.is_complex:
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} of dtype {request.dtype} needs an initializer: for example "
            "initializer=ts.zeros_initializer().",
        )
    return glorot_uniform() if request.dtype.is_floating_point else zeros()


def _call(initializer: Any, request: Declaration) -> Any:
    if not request.complete:
        return initializer()
    shape = _sizes(request)
    if _fills_in_place(initializer):
        return initializer(torch.empty(shape, dtype=request.dtype))
    arguments: dict[str, Any] = {"dtype": request.dtype}
    if not _is_ours(initializer) and _takes_partition_info(initializer):
        arguments["partition_info"] = None
    try:
        return initializer(list(shape), **arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # It comes from inside the initializer.
        raise TypeError(
            f"The initializer of {request.name!r} cannot be called as f(shape, dtype=dtype): "
            f"{error}. Write it as `def f(shape, dtype=None)`; one without arguments gives the "
            "shape itself, so leave `shape` out."
        ) from error


def _checked(request: Declaration, value: Any) -> torch.Tensor:
    """What an initializer returned, as a tensor that nobody else holds, if it is what was asked."""
    asked = request.dtype if request.complete else None
    if asked is not None and _is_ours(request.initializer):
        dense = value.is_contiguous() and not value.requires_grad
        return value if dense else value.detach().contiguous()
    if not isinstance(value, torch.Tensor) and value is not None:
        value = torch.as_tensor(value, dtype=asked)  # TensorFlow converts arrays, but no tensors.
    if value is None:
        problem = "returned None, not a tensor. Did it forget to return?"
    elif not fits(request.shape, tuple(value.shape)):
        problem = f"returned shape {tuple(value.shape)}, not {request.shape}. Make it use `shape`."
    elif asked is not None and value.dtype != asked:
        problem = f"returned dtype {value.dtype}, not {asked}. Make it use `dtype`."
    elif value.device.type not in ("cpu", (request.device or value.device).type):
        problem = f"returned a tensor on {value.device}. Make it on the CPU; the store moves it."
    else:
        return value.detach().clone(**_DENSE)
    raise VariableMismatchError(request.name, f"The initializer of {request.name!r} {problem}")


def _is_ours(initializer: Any) -> bool:
    """Whether every call is known to give a tensor of its own, which then need not be copied."""
    kind = initializer if isinstance(initializer, type) else type(initializer)
    return initializer is None or kind.__module__ == zeros.__module__


def _fills_in_place(initializer: Any) -> bool:
    """Whether it is one of ``torch.nn.init``, such as ``xavier_uniform_``, which fill a tensor."""
    while isinstance(initializer, functools.partial):
        initializer = initializer.func
    return getattr(initializer, "__module__", None) == "torch.nn.init"


def _takes_partition_info(initializer: Any) -> bool:
    plain = type(initializer) is FunctionType and not initializer.__dict__  # It wraps no other.
    if plain and "partition_info" not in initializer.__code__.co_varnames:
        return False  # In a tenth of the time that a signature takes.
    return "partition_info" in parameters_of(initializer)


def _needs_no_arguments(initializer: Any) -> bool:
    takes = parameters_of(initializer).values()
    return not _fills_in_place(initializer) and all(
        parameter.default is not parameter.empty
        or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in takes
    )


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that ``function`` takes."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # Some builtins have no signature; they ask for a shape.
        return {"shape": inspect.Parameter("shape", inspect.Parameter.POSITIONAL_ONLY)}


def _sizes(request: Declaration) -> Shape:
    return tuple(size for size in request.shape or () if size is not None)


def _last(full_name: str) -> str:
    return full_name.rpartition("/")[2]


def default_device() -> torch.device:
    """Torch's default device; nearly always nothing has set one, and asking takes long."""
    return _CPU if function_modes() == 0 else torch.get_default_device()


_CPU = torch.device("cpu")
function_modes: Callable[[], int] = cast("Any", torch._C)._len_torch_function_stack


class own_random_stream:  # noqa: N801  - reads as a function: with own_random_stream(...):
    """Let random values come from a stream of ``full_name``'s own, and be made on the CPU.

    The stream is seeded from the store's seed and the name, so values do not depend on the order
    of creation, differ between variables and agree between processes that seed alike. Autocast,
    which would change dtypes, is off.

    An initializer of ours is handed the stream; for any other function torch's own stream on the
    CPU, which all threads share, is exchanged for it meanwhile.
    """

    def __init__(self, seed: int, full_name: str, initializer: Any = None) -> None:
        self._seed, self._full_name = seed, full_name
        self._ours = initializer is not None and _is_ours(initializer)
        self._draws = not self._ours or bool(getattr(initializer, "random", True))

    def __enter__(self) -> None:
        self._contexts: list[Any] = []
        if default_device().type != "cpu":
            self._contexts.append(torch.device("cpu"))
        if torch.is_autocast_enabled("cpu"):
            self._contexts.append(torch.autocast("cpu", enabled=False))
        if self._draws:
            key = f"{self._seed}/{self._full_name}".encode()
            digest = hashlib.blake2b(key, digest_size=8).digest()
            seed = int.from_bytes(digest, "little") >> 1
            if self._ours:
                self._outer, stream.generator = stream.generator, stream.own
                stream.own.manual_seed(seed)
            else:
                self._outer, stream.generator = stream.generator, None
                self._state = torch.default_generator.get_state()
                torch.default_generator.manual_seed(seed)
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*error)
        if self._draws:
            stream.generator = self._outer
            if not self._ours:
                torch.default_generator.set_state(self._state)
