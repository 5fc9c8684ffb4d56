"""tf.contrib.training, as far as models use it: HParams. Knows no tensors."""

from typing import Any

from torchscope.tf1 import _missing

__all__ = ["HParams"]


class HParams:
    """Named values, read as attributes.

    Torch: none; in Python ``types.SimpleNamespace``.

    >>> import torchscope.tf1 as tf
    >>> hparams = tf.contrib.training.HParams(n_layer=12, n_head=12)
    >>> hparams.override_from_dict({"n_layer": 24}).n_layer, hparams.values()
    (24, {'n_layer': 24, 'n_head': 12})

    Args:
        hparam_def: refused; it is a protocol buffer.
        model_structure: refused.
        **kwargs: the values.
    """

    def __init__(self, hparam_def: Any = None, model_structure: Any = None, **kwargs: Any) -> None:
        if hparam_def is not None or model_structure is not None:
            raise ValueError("HParams(): give the values by name: HParams(n_layer=12).")
        for name, value in kwargs.items():
            self.add_hparam(name, value)

    def __contains__(self, key: str) -> bool:
        return key in self.__dict__

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"HParams has no {name!r}; there are {', '.join(self.__dict__)}.")

    def __repr__(self) -> str:
        return f"HParams({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def add_hparam(self, name: str, value: Any) -> None:
        """Add a value; ValueError if the name is taken."""
        if hasattr(type(self), name) or name in self:
            raise ValueError(f"HParams.add_hparam(): the name {name!r} is taken.")
        self.__dict__[name] = value

    def set_hparam(self, name: str, value: Any) -> None:
        """Change a value; KeyError if there is none of that name."""
        if name not in self:
            raise KeyError(f"HParams has no {name!r}; there are {', '.join(self.__dict__)}.")
        self.__dict__[name] = value

    def override_from_dict(self, values_dict: dict[str, Any]) -> "HParams":
        """Change some values; KeyError, and nothing is changed, if there is none of a name."""
        for name in [*(name for name in values_dict if name not in self), *values_dict]:
            self.set_hparam(name, values_dict[name])
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """A value, or the default if there is none of that name."""
        return self.__dict__.get(key, default)

    def values(self) -> dict[str, Any]:
        """All of them, by name."""
        return dict(self.__dict__)


__getattr__ = _missing.of("tf.contrib.training")
