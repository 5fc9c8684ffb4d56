"""Other libraries that name variables, where they are installed, and dated figures of the rest."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from models import HandWritten
from timing import MODULE, TORCHSCOPE, Measure, Settings, Statement, race

import torchscope as ts

NEEDS = {"Pyro": "pyro", "Haiku": "haiku", "Flax linen": "flax"}


def installed() -> list[str]:
    return [peer for peer, package in NEEDS.items() if find_spec(package)]


def peers(settings: Settings) -> list[Measure]:
    """Each gets an existing variable, depth 2, in its own way and with its own checks."""
    net = HandWritten()
    samples: dict[str, list[float]] = {}
    with ts.VariableStore(), ts.variable_scope("conv1", reuse=ts.AUTO_REUSE):
        samples |= race(
            {
                TORCHSCOPE: Statement(
                    "get_variable('weights', [2, 1, 3, 3])", {"get_variable": ts.get_variable}
                ),
                MODULE: Statement("net.conv1.weights", {"net": net}),
            },
            settings,
        )
        for peer in installed():
            samples[peer] = RACES[peer](settings)
    if not installed():
        return []
    return [
        Measure("peers", "get a variable by name, compared with other libraries", "ns", samples)
    ]


def pyro(settings: Settings) -> list[float]:
    import pyro

    value = torch.zeros(2, 1, 3, 3)
    pyro.param("conv1.weights", value)
    names = {"param": pyro.param, "value": value}
    return race({"": Statement("param('conv1.weights', value)", names)}, settings)[""]


def haiku(settings: Settings) -> list[float]:
    import haiku as hk
    import jax
    import jax.numpy as jnp

    def get() -> list[float]:
        with hk.name_scope("conv1"):
            names = {"get": hk.get_parameter, "zeros": jnp.zeros}
            code = "get('weights', (2, 1, 3, 3), init=zeros)"
            return race({"": Statement(code, names)}, settings)[""]

    def init() -> None:
        with hk.name_scope("conv1"):
            hk.get_parameter("weights", (2, 1, 3, 3), init=jnp.zeros)

    parameters = hk.transform(init).init(jax.random.PRNGKey(0))
    return hk.transform(get).apply(parameters, None)


def flax(settings: Settings) -> list[float]:
    import flax.linen as linen
    import jax

    zeros = linen.initializers.zeros
    samples: list[float] = []

    class Conv1(linen.Module):
        timing: bool = False

        @linen.compact
        def __call__(self) -> None:
            self.param("weights", zeros, (2, 1, 3, 3))
            if self.timing:  # A name may be asked for once; read again it is get_variable.
                names = {"get": self.get_variable}
                samples.extend(
                    race({"": Statement("get('params', 'weights')", names)}, settings)[""]
                )

    variables = Conv1().init(jax.random.PRNGKey(0))
    Conv1(timing=True).apply(variables)
    return samples


RACES: dict[str, Callable[[Settings], list[float]]] = {
    "Pyro": pyro,
    "Haiku": haiku,
    "Flax linen": flax,
}

# Measured on 2026-11-22 on the machine that docs/benchmarks.md names, one process at a time;
# Python 3.11.7 (NNabla: 3.10.13), torch 2.13.0, tensorflow-cpu 2.21.0, nnabla 1.39.0.
DATED = """\
Figures of 2026-11-22, not measured now: TensorFlow 2.21 and NNabla 1.39 cannot be had everywhere.
                                        TF 1 API, eager    TF 1 graph, built once    NNabla
  get a variable by name                      15,235 ns                 31,792 ns     1,729 ns
  enter and leave a scope                      9,578 ns                 20,589 ns     1,807 ns
  naming alone, the tutorial's model          96,037 ns                170,076 ns    12,487 ns
  make each of 10,000 variables            1,458,560 ns              1,522,111 ns   164,167 ns
  memory of each besides its data             41,497 B                  72,867 B      4,525 B\
"""
