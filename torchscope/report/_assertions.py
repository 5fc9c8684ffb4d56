"""assert_shared and assert_not_shared: what a model's tests say of its sharing; run one pass."""

import difflib
from typing import Any

from torch import nn

from torchscope._errors import ScopeError, VariableMissingError

from ._report import SharingReport
from ._sharing import sharing


def assert_shared(
    where: nn.Module | SharingReport, name: str, /, *others: str, example: Any = ()
) -> None:
    """Raise an AssertionError unless a variable is shared.

    One name: the variable is asked for more than once in a pass, or from more than one place.
    Several names: they are names of one parameter (``emb.weight`` and ``out.weight``).

    >>> import torch, torchscope as ts
    >>> def siamese(a, b):
    ...     with ts.variable_scope("encoder", reuse=ts.AUTO_REUSE):
    ...         return [x @ ts.get_variable("w", [3, 2]) for x in (a, b)]
    >>> net = ts.ScopedModule(siamese).build(torch.ones(1, 3), torch.ones(1, 3))
    >>> ts.assert_shared(net, "encoder/w")

    Args:
        where: a net, a module, or a report of :func:`sharing`.
        name: of a variable.
        others: more names.
        example: what the net is called with, a tuple; a tensor stands for ``(tensor,)``. By
            default zeros like what ``build`` was given.

    Raises:
        AssertionError: it is not shared; the text is the part of the report that tells why.
        VariableMissingError: there is no variable of that name.
        ScopeError: not a name, or nobody knows what to call the net with.
    """
    names = name, *others
    report = _report("assert_shared", where, names, example)
    if others:
        if not any(set(names) <= {*tie.names} for tie in report.tied if tie.how == "one object"):
            raise _failed(report, names, f"{_list(names)} are not one parameter.")
    elif not _is_shared(report, name):
        raise _failed(report, names, f"{name!r} is not shared: it is asked for once or never.")


def assert_not_shared(
    where: nn.Module | SharingReport, name: str, /, *others: str, example: Any = ()
) -> None:
    """Raise an AssertionError if variables are one, or share memory.

    One name: the variable is asked for once in a pass, at most. Several names: no two of them are
    one object or lie in one memory.

    >>> import torch, torchscope as ts
    >>> def two_towers(a, b):
    ...     with ts.variable_scope("left"):
    ...         a = a @ ts.get_variable("w", [3, 2])
    ...     with ts.variable_scope("right"):
    ...         return a, b @ ts.get_variable("w", [3, 2])
    >>> net = ts.ScopedModule(two_towers).build(torch.ones(1, 3), torch.ones(1, 3))
    >>> ts.assert_not_shared(net, "left/w", "right/w")

    Args:
        where: a net, a module, or a report of :func:`sharing`.
        name: of a variable.
        others: more names.
        example: as for :func:`assert_shared`.

    Raises:
        AssertionError: they are shared; the text is the part of the report that tells why.
        VariableMissingError: there is no variable of that name.
        ScopeError: not a name, or nobody knows what to call the net with.
    """
    names = name, *others
    report = _report("assert_not_shared", where, names, example)
    if others:
        for tie in report.tied:
            both = [one for one in names if one in tie.names]
            if len(both) > 1:
                raise _failed(report, both, f"{_list(both)} are {tie.how}.")
    elif _is_shared(report, name):
        raise _failed(report, names, f"{name!r} is shared.")


def _run(where: Any, example: Any) -> SharingReport:
    return sharing(where, *(example if type(example) in (tuple, list) else (example,)))


def _report(function: str, where: Any, names: tuple[Any, ...], example: Any) -> SharingReport:
    if not all(isinstance(name, str) for name in names):
        raise ScopeError(
            None, f"ts.{function} takes names of variables: ts.{function}(net, 'encoder/w')."
        )
    report = where if isinstance(where, SharingReport) else _run(where, example)
    known: list[str] = [one.name for one in report.variables]
    known += [one for tie in report.tied for one in tie.names]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=3)
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise VariableMissingError(name, f"{report.name} has no variable {name!r}.{hint}")
    return report


def _is_shared(report: SharingReport, name: str) -> bool:
    if any(tie.how == "one object" and name in tie.names for tie in report.tied):
        return True
    if not report.recorded:
        raise ScopeError(
            name,
            f"Whether {name!r} is used twice only a pass can tell: example=(x,), with what the "
            "module is called with.",
        )
    return name in report.shared


def _failed(report: SharingReport, names: Any, problem: str) -> AssertionError:
    return AssertionError(f"{problem}\n\n{report.part(names)}")


def _list(names: Any) -> str:
    return " and ".join(map(repr, names))
