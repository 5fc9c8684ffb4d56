"""The variables by name as an nn.ParameterDict, and what was loaded for names not made yet.

Knows how a state dict spells a name; nothing of passes, nor of how a variable is made.
"""

import difflib
import hashlib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast
from weakref import WeakValueDictionary

import torch
from torch import nn

from . import _names
from ._declare import Declaration, GraphKeys, Origin
from ._errors import (
    NotBuiltError,
    ScopeError,
    StateDictError,
    VariableMissingError,
    VariableNameError,
)

_SHOWN = 20  # lines of a store's repr


@dataclass(frozen=True)
class Terms:
    """On which terms values were given for names that nobody has asked for yet.

    As ``load_state_dict`` has it, by default; `torchscope.checkpoint.load` asks for more.
    """

    exact: bool = False  # a dtype that would lose something is refused
    optional: frozenset[str] = frozenset()  # keys that nobody need ask for
    covers: tuple[str, ...] = ("",)  # scopes and names in which each name should have a value

    def cover(self, name: str) -> bool:
        """Whether a variable ``name`` for which there is no value lacks one."""
        return any(_covers(one, name) for one in self.covers)

    def idle(self, names: Collection[str]) -> list[str]:
        """The scopes and names that ``names`` have nothing to do with; modules' end in a slash."""
        there = {"", *names}
        return [
            one
            for one in self.covers
            if one not in there and not any(_covers(one, n) or _covers(n, one) for n in names)
        ]

    def below(self, full_name: str) -> "Terms":
        """The same for what is kept under ``full_name``."""
        prefix = f"{full_name}/"
        covers = [one.removeprefix(prefix) for one in self.covers if one.startswith(prefix)]
        covers += [""] if self.cover(prefix) else []
        prefix = prefix.replace(".", "%2E")  # as keys have it
        optional = {key.removeprefix(prefix) for key in self.optional if key.startswith(prefix)}
        return Terms(self.exact, frozenset(optional), tuple(covers))


def _covers(scope_or_name: str, name: str) -> bool:
    """Whether ``name`` is that name, or in that scope, which ends in a slash; "" is the root."""
    return name == scope_or_name or (
        name.startswith(scope_or_name) and scope_or_name[-1:] in ("", "/")
    )


class VariableTable(nn.ParameterDict):
    """Full name -> ``nn.Parameter`` or buffer, with what each was declared as."""

    _version = 1  # of the state dict

    def __init__(self) -> None:
        super().__init__()
        self._declared: dict[str, Declaration] = {}
        self._built = False
        self._structure = ""  # what was declared when it was built; see as_built
        # By state-dict key: loaded before anybody asked for it; and how it was loaded.
        self._pending: dict[str, torch.Tensor] = {}
        self._pending_strict = self._pending_assign = False
        self._pending_terms = Terms()
        # Names made since then for which nothing was loaded; None if nothing was loaded at all.
        self._not_loaded: list[str] | None = None

    def _fetch(self, declaration: Declaration) -> torch.Tensor:
        """The tensor that the module holds now for a variable that has been made."""
        return self._at(declaration.key)

    def _at(self, key: str) -> torch.Tensor:
        found = self._parameters.get(key)
        if found is None:
            found = self._buffers.get(key)
        # Under parametrize, or in a replica of DataParallel, a variable is a plain attribute.
        return getattr(self, key) if found is None else found

    def _writable(self, declaration: Declaration) -> torch.Tensor:
        """The variable, unless it is computed from others, where a write would be lost."""
        variable = self._fetch(declaration)
        if declaration.key in self._parameters or declaration.key in self._buffers:
            return variable
        raise ScopeError(
            declaration.name,
            f"Variable {declaration.name!r} is computed from others (by parametrize, weight_norm "
            "or prune), so what is written to it would be lost. Remove that first, for example "
            f"torch.nn.utils.parametrize.remove_parametrizations(net, {declaration.key!r}).",
        )

    def _register(self, declaration: Declaration, value: torch.Tensor) -> None:
        """Keep ``value`` as the variable declared so; a Parameter as it is."""
        name, key, own = declaration.name, declaration.key, self.__dict__
        old = self._declared.get(name)
        if old is None:
            if self._structure:
                self._stand_for_itself()
            self._check_free(declaration)
        else:
            if (old.shape, old.dtype) != (declaration.shape, declaration.dtype):
                self._stand_for_itself()
                self._structure = ""
            if old.buffer != declaration.buffer:
                delattr(self, key)
        if not declaration.buffer and (
            type(value) is torch.Tensor or not isinstance(value, nn.Parameter)
        ):
            floats = value.is_floating_point() or value.is_complex()
            value = nn.Parameter(value, declaration.trainable and floats)
        if old is not None and (key in self._buffers or key in self._parameters):
            setattr(self, key, value)  # Where it was in the order.
        elif declaration.buffer:
            self.register_buffer(key, value, persistent=declaration.persistent)
        elif old is None and type(self).register_parameter is _register and not _hooks:
            # What it would do, but for asking once more whether the name is free, which takes
            # longer than all else.
            own["_parameters"][key] = value
        else:
            self.register_parameter(key, cast("nn.Parameter", value))
        if self._pending:
            self._pending.pop(self._pending_key(declaration.name) or "", None)
        self._declared[name] = declaration

    def _stand_for_itself(self) -> None:
        """No longer tell, in ``as_built``, what stores hold that were built alike: it differs."""
        if self._structure and _alike.get(self._structure) is self:
            del _alike[self._structure]

    def _check_free(self, new: Declaration) -> None:
        """Raise if something else than a variable is kept already where ``new`` is to be."""
        key, own = new.key, self.__dict__
        if "/" not in key:
            if hasattr(self, key):
                raise VariableNameError(
                    new.name,
                    f"Variable {new.name!r} cannot be kept: {type(self).__name__} has an attribute "
                    "of that name. Use another name, or a scope: variable_scope('model').",
                )
        elif (  # No class has such an attribute, and to ask for one takes ten times as long.
            key in own["_parameters"]
            or key in own
            or key in own["_buffers"]
            or key in own["_modules"]
        ):
            raise NotBuiltError(
                new.name,
                f"Variable {new.name!r} was put in from outside (by functional_call, perhaps) "
                "before it was made. Build the module first: net.build(*example).",
            )

    # ---- the mapping -----------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        yield from self._declared
        yield from map(_names.unescape, self._pending)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __len__(self) -> int:
        return len(self._declared) + len(self._pending)

    def __bool__(self) -> bool:
        return True  # A store is there though it holds nothing yet.

    def __contains__(self, name: object) -> bool:
        return name in self._declared or self._pending_key(name) is not None

    def __getitem__(self, name: str) -> Any:
        declaration = self._declared.get(name)
        if declaration is not None:
            return self._fetch(declaration)
        key = self._pending_key(name)
        if key is None:
            raise KeyError(f"no variable {name!r}.{self._nearest(name)}")
        return self._pending[key]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"store[{name!r}] takes a parameter or a tensor, not {value!r}.")
        old = self._declared.get(name)
        if old is None:
            _names.check_variable(name)
            collections = (GraphKeys.GLOBAL_VARIABLES,)
            old = Declaration(name, collections=collections, key=_names.escape(name))
        dtype = value.dtype
        if name in self._declared and self._writable(old).dtype == dtype:
            dtype = old.dtype  # .half() may have changed it since: that declares nothing anew.
        buffer = old.buffer and not isinstance(value, nn.Parameter)
        # An initializer that was called with a shape serves the new one, too.
        lasting = name in self._declared and not old.by_value and not old.shapeless
        declaration = replace(
            old,
            default_dtype=False,
            buffer=buffer,
            origin=Origin.here(),
            shapeless=False,
            initializer=old.initializer if lasting else value.detach().clone(),
            trainable=value.requires_grad or not isinstance(value, nn.Parameter),
        )
        declaration.settle(value.shape, dtype)
        self._register(declaration, value)

    def __delitem__(self, name: str) -> None:
        key = self._pending_key(name)
        if name not in self._declared and key is None:
            raise KeyError(f"no variable {name!r}.{self._nearest(name)}")
        if name in self._declared:
            self._writable(self._declared[name])
            delattr(self, self._declared.pop(name).key)
            self._stand_for_itself()
            self._structure = ""
        if key is not None:
            del self._pending[key]
            self._not_loaded = None  # What is not to be loaded is no longer missed.

    def keys(self) -> Any:
        """The full names, in the order of making."""
        return dict.fromkeys(self).keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Each full name with its variable, in the order of making."""
        return ((name, self[name]) for name in self)

    def values(self) -> Iterable[Any]:
        """The variables, in the order of making."""
        return (self[name] for name in self)

    def popitem(self) -> tuple[str, Any]:
        """Forget the variable made last; returns its name and itself."""
        if not len(self):
            raise KeyError("popitem: the store is empty")
        name = list(self)[-1]
        return name, self.pop(name)

    def clear(self) -> None:
        """Forget all variables."""
        for name in list(self):
            del self[name]

    def extra_repr(self) -> str:
        """The variables, a line each; of very many the first and the last."""
        names = list(self)
        hidden = len(names) - _SHOWN
        if hidden > 0:
            names = names[: _SHOWN // 2] + names[-_SHOWN // 2 :]
        lines = [
            f"({name}): {type(variable).__name__} {tuple(variable.shape)} "
            f"{str(variable.dtype).removeprefix('torch.')} {variable.device}"
            for name, variable in ((name, self[name]) for name in names)
        ]
        if hidden > 0:
            lines.insert(_SHOWN // 2, f"... {hidden:,} more")
        return "\n".join(lines)

    def _nearest(self, name: object) -> str:
        """A question that offers the names nearest to ``name``, or nothing."""
        close = difflib.get_close_matches(str(name), list(self)[:10_000], n=3)
        return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""

    def _missing(self, name: str, advice: str = "") -> NoReturn:
        """Raise that there is no variable ``name``."""
        raise VariableMissingError(
            name, f"Variable {name!r} does not exist.{self._nearest(name)}{advice}"
        )

    # ---- state dicts -----------------------------------------------------------------------

    def _pending_key(self, full_name: object) -> str | None:
        """The key under which a value for ``full_name`` was loaded that nobody has asked for."""
        if self._pending and isinstance(full_name, str):
            for key in (_names.escape(full_name), full_name):
                if key in self._pending:
                    return key
        return None

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As ``nn.Module.load_state_dict``, but check everything first.

        Before the first pass there is nothing to load into: the values are kept, and each
        variable takes its own when it is first asked for.

        Raises:
            StateDictError: names or shapes do not fit; all are listed, and nothing was loaded.
        """
        misfits = [*self._misfits(state_dict, strict)]
        if misfits:
            listed = "\n  ".join(misfits)
            cure = "To load what fits by name: load_state_dict(state_dict, strict=False)."
            if not strict:
                cure = "Leave these out of the state dict, or make the variables fit."
            raise StateDictError(
                None,
                f"The state dict does not fit this {type(self).__name__}; nothing was loaded.\n  "
                f"{listed}\n{cure}",
            )
        return super().load_state_dict(state_dict, strict, assign)

    def _hold(
        self,
        values: Mapping[str, torch.Tensor],
        terms: Terms,
        strict: bool,
        assign: bool = False,
    ) -> None:
        """Keep ``values``, by state-dict key, for the variables that the first pass will make."""
        if self._pending and values:
            before = self._pending_terms
            optional, covers = before.optional | terms.optional, before.covers + terms.covers
            terms = Terms(terms.exact, optional, covers)
        self._pending.update(values)
        self._pending_terms, self._not_loaded = terms, []
        self._pending_strict, self._pending_assign = strict, assign

    def _misfits(self, state_dict: Mapping[str, Any], strict: bool) -> Iterator[str]:
        given = {key: value for key, value in state_dict.items() if not key.endswith(_EXTRA)}
        modules = dict(cast("Any", self.named_modules(remove_duplicate=False)))
        judged = {path: module for path, module in modules.items() if _reads_its_own_names(module)}
        expected: dict[str, torch.Tensor] = {}
        for path, module in judged.items():
            prefix = path + "." if path else ""
            if isinstance(module, VariableTable):
                module._respell(given, prefix)
            unkept = module._non_persistent_buffers_set
            for key, tensor in {**module._parameters, **module._buffers}.items():
                if tensor is not None and key not in unkept:
                    expected[prefix + key] = tensor
        for key, tensor in expected.items():
            value = given.get(key, given)
            if value is given:
                if strict:
                    yield f"{_names.unescape(key)!r} is missing{_like(key, given, expected)}"
            elif (
                isinstance(value, torch.Tensor)
                and value.shape != tensor.shape
                and (tensor.ndim, value.ndim) != (0, 1)
            ):
                shapes = f"{tuple(tensor.shape)} here, {tuple(value.shape)} in the state dict"
                yield f"{_names.unescape(key)!r} has shape {shapes}"
        for key, value in given.items():
            if key in expected and isinstance(value, torch.Tensor):
                continue
            path = key.rpartition(".")[0]
            while path not in modules:
                path = path.rpartition(".")[0]
            owner = judged.get(path)
            waits = isinstance(owner, VariableTable) and not owner._built
            if owner is None:
                continue
            if not isinstance(value, torch.Tensor) and (waits or key in expected):
                yield f"{_names.unescape(key)!r} is no tensor but {value!r}"
            elif strict and not waits and key not in expected:
                yield f"{_names.unescape(key)!r} is unexpected{_like(key, expected, given)}"

    def _respell(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Give the variables in ``state_dict`` the keys that they have here."""
        for name, declaration in self._declared.items():
            key = declaration.key
            if key == name:
                continue
            for other in {name, key.removeprefix("/")} - {key}:
                if prefix + other in state_dict:
                    state_dict[prefix + key] = state_dict.pop(prefix + other)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        keys = [declaration.key for declaration in self._declared.values()]
        if keys != list(self._parameters):  # torch puts parameters first.
            for key in keys:
                if prefix + key in destination:
                    destination[prefix + key] = destination.pop(prefix + key)
        destination.update({prefix + key: value for key, value in self._pending.items()})

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        self._respell(state_dict, prefix)
        if not self._built:
            assign = bool(local_metadata.get("assign_to_params_buffers", False))
            self._pending_strict, self._pending_assign = _strict(), assign
            self._pending_terms = Terms()
            self._not_loaded = []
            here = {*self._parameters, *self._buffers, *self._modules}
            here |= {declaration.key for declaration in self._declared.values()}
            for full_key in [key for key in state_dict if key.startswith(prefix)]:
                key = full_key[len(prefix) :]
                if key.partition(".")[0] not in here and key != _EXTRA:
                    value = state_dict.pop(full_key)
                    # A copy, as loading makes one: the tensor may be another model's, and change.
                    with torch.inference_mode(False):  # What is made under it is never trained.
                        self._pending[key] = value if assign else value.detach().clone()
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def key_in(module: nn.Module, name: str) -> str:
    """The state-dict key of what is called ``name`` below ``module``: ``h0.w`` of ``h0/w``."""
    for key, child in module._modules.items():
        below = _names.unescape(key) + "/"
        if child is not None and name.startswith(below):
            return f"{key}.{key_in(child, name.removeprefix(below))}"
    return _names.escape(name) if isinstance(module, VariableTable) else name


# Some libraries exchange the one (accelerate), others are called by the other.
_register = nn.Module.register_parameter
_hooks = cast("Any", nn.modules.module)._global_parameter_registration_hooks

_alike: WeakValueDictionary[str, VariableTable] = WeakValueDictionary()


def keep_structure(table: VariableTable, made: Iterable[Declaration]) -> None:
    """From now on ``as_built`` knows the variables that were made."""
    digest = hashlib.blake2b()
    for one in made:
        digest.update(f"{one.name} {one.shape} {one.dtype}\n".encode())
    table._structure = digest.hexdigest()
    _alike[table._structure] = table


def as_built(
    structure: str, prefix: str, name: str, default_dtype: bool = False
) -> tuple[str, str, tuple[int, ...], torch.dtype] | None:
    """Full name, key, shape and dtype of a variable in the stores that were built alike.

    To Dynamo it is a constant: compiled code, instead of watching each declaration, watches the
    store's structure, which is the same for blocks that are alike and new variables do not change.
    """
    table = _alike.get(structure)
    if table is None or not isinstance(name, str):
        return None
    made = table._declared.get(prefix + name)
    if default_dtype and made is not None and made.dtype is not torch.get_default_dtype():
        return None
    return None if made is None else (made.name, made.key, cast("Any", made.shape), made.dtype)


as_built._dynamo_marked_constant = True  # type: ignore[attr-defined]


_EXTRA = "_extra_state"


def _reads_its_own_names(module: nn.Module) -> bool:
    """Whether loading reads just the names that the module has; BatchNorm and hooks may not."""
    load = cast("Any", type(module))._load_from_state_dict
    plain = isinstance(module, VariableTable) or load is nn.Module._load_from_state_dict
    return plain and not module._load_state_dict_pre_hooks


def _strict() -> bool:
    """What ``load_state_dict`` was told, perhaps that of a module around: torch passes on True."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not nn.Module.load_state_dict.__code__:
        frame = frame.f_back
    return frame is None or bool(frame.f_locals["strict"])


def _like(key: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The nearest of the names that are there, and not here, too."""
    others = [other for other in there if other not in here][:10_000]
    close = difflib.get_close_matches(key, others, n=1)
    return f"; there is {_names.unescape(close[0])!r}" if close else ""
