"""Which names are not the model's: what optimizers keep, steps and metrics; knows names alone."""

import re
from collections.abc import Collection, Iterable, Iterator

# What optimizers and moving averages keep beside a variable: NAME/Adam, NAME/Adam_1, for BERT
# NAME/adam_m; tf1-style moving averages NAME/biased and NAME/local_step. An optimizer may have been
# given another name, such as D_opt, so the words need only be part of it.
_SLOT = re.compile(
    r"adam|adagrad|adadelta|adafactor|rmsprop|momentum|ftrl|lamb|lars|nadam|optim|(^|_)opt(_|$)"
    r"|ExponentialMovingAverage|^biased$|^local_step$",
    re.IGNORECASE,
)
_ALONE = re.compile(
    r"(global_step|save_counter|beta[12]_power(_\d+)?"
    r"|ExponentialMovingAverage(_\d+)?)$",  # of a loss, beside no variable
    re.IGNORECASE,
)

# Keras' optimizers have a scope of their own, in which they repeat the variables' names:
# training/Adam/iter, training/Adam/dense/kernel/m; or Adam/m/dense/kernel.
_KERAS = re.compile(
    r"(Adadelta|Adafactor|Adagrad|Adam|AdamW|Adamax|Ftrl|Lamb|LazyAdam|Lion|Lookahead|Nadam|RMSprop"
    r"|SGD|SWA|TFOptimizer)(_\d+)?",
    re.IGNORECASE,
)
_KERAS_SLOT = re.compile(
    r"(m|v|vhat|mg|rms|rho|momentum|velocity|accumulator|accum_grad|accum_var|linear|average"
    r"|slow|moments?)(_\d+)?"
)
_COUNTERS = ("iter", "iteration", "iterations", "_iterations")
_SETTINGS = re.compile(
    r"_?(decay|learning_rate|current_learning_rate|lr|beta_[12]|rho|momentum|epsilon|loss_scale)"
)

# TensorFlow 2 names what it saves by the way from the root object to it.
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OBJECT_SLOT = re.compile(r"/\.OPTIMIZER_SLOT/(.+)/[^/]+$")
_METRIC = re.compile(r"(^|/)(keras_api/metrics|_?(compiled_)?metrics|\w*_tracker)/")
_MODELS_OWN = "_trainable_variables/"  # below an optimizer: Keras 3 saves the variables there


class NotTheModels:
    """Those of a source's names that are an optimizer's, a metric's, or count steps.

    >>> names = ["w", "w/Adam", "b", "training/Adam/b/m", "training/Adam/iter", "global_step"]
    >>> [name for name in names if name not in NotTheModels(names)]
    ['w', 'b']
    """

    # `known` are those of which the names alone do not tell.
    def __init__(self, names: Collection[str], known: Collection[str] = ()) -> None:
        self._names = names
        self.known = frozenset(known)
        self._optimizers = set(_scopes_of_optimizers(names))

    def __contains__(self, name: str) -> bool:
        if name in self.known or name == GRAPH:
            return True
        if name.endswith(VALUE):
            name = name.removesuffix(VALUE)
            if "/.OPTIMIZER_SLOT/" in name or _METRIC.search(name):
                return True
        return (
            is_alone(name)
            or is_slot(name, self._names)
            or self._is_in_optimizer(name)
            or (bool(self._optimizers) and _is_setting(name))
        )

    def _is_in_optimizer(self, name: str) -> bool:
        for scope, rest in _splits(name):
            if scope in self._optimizers:
                return not rest.startswith(_MODELS_OWN)
            if _KERAS.fullmatch(scope.rpartition("/")[2]) and self._is_keras_slot(rest):
                return True
        return False

    def _is_keras_slot(self, rest: str) -> bool:
        """Whether that stands behind an optimizer's scope: a variable's name and a slot's, say."""
        if _is_setting(rest):
            return True
        variable, _, slot = rest.rpartition("/")
        first, _, behind = rest.partition("/")
        return (variable in self._names and _KERAS_SLOT.fullmatch(slot) is not None) or (
            behind in self._names and _KERAS_SLOT.fullmatch(first) is not None
        )


def is_slot(name: str, names: Collection[str]) -> bool:
    """Whether ``name`` is kept beside another of ``names`` by an optimizer or a moving average."""
    return bool(_SLOT.search(name.rpartition("/")[2])) and is_beside(name, names)


def is_beside(name: str, names: Collection[str]) -> bool:
    """Whether ``name`` begins with another of ``names``, as what is kept beside a variable does."""
    variable = name.rpartition("/")[0]
    # Applied inside a scope, an optimizer puts that in front: train/dense/w/Adam.
    while variable and variable not in names:
        variable = variable.partition("/")[2]
    return bool(variable)


def is_alone(name: str) -> bool:
    """Whether ``name`` is the global step, a loss's average or the like: no variable's."""
    return _ALONE.fullmatch(name.rpartition("/")[2]) is not None


def _scopes_of_optimizers(names: Collection[str]) -> Iterator[str]:
    """Scopes that count iterations and have a learning rate or the like; those that slots name."""
    counting: set[str] = set()
    for name in names:
        slot = _OBJECT_SLOT.search(name.removesuffix(VALUE)) if name.endswith(VALUE) else None
        if slot is not None:
            yield slot[1]
        scope, _, last = name.removesuffix(VALUE).rpartition("/")
        if scope and last in _COUNTERS:
            counting.add(scope)
    if counting:
        for name in names:
            scope, _, last = name.removesuffix(VALUE).rpartition("/")
            if scope in counting and _SETTINGS.fullmatch(last):
                yield scope


def _is_setting(name: str) -> bool:
    """Whether a name without a scope is that of an optimizer's number."""
    return name in _COUNTERS or _SETTINGS.fullmatch(name) is not None


def _splits(name: str) -> Iterable[tuple[str, str]]:
    """Each scope that a name is in, and the rest of the name."""
    for at, letter in enumerate(name):
        if letter == "/":
            yield name[:at], name[at + 1 :]
