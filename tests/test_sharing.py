"""ts.sharing: who asks for which variable, what is shared, and that looking changes nothing."""

import functools
import json
import random
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchscope as ts
import torchscope.tf1 as tf
from torchscope._pass import here

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import char_rnn
import dcgan
import gan
import gpt2
import image_filter
import shared_variables_tf1
import weight_tying

X = torch.ones(2, 4)


def dense(x: Tensor, name: str) -> Tensor:
    with ts.variable_scope(name):
        w = ts.get_variable("w", [4, 4])  # asked for here
        b = ts.get_variable("b", [4])
        return torch.tanh(x @ w + b)


def line_of(text: str) -> int:
    """The number of the line of this file that ends in a comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


def siamese(a: Tensor, b: Tensor) -> Tensor:
    with ts.variable_scope("encoder", reuse=ts.AUTO_REUSE):
        left = dense(a, "d")  # the first call
        right = dense(b, "d")  # the second call
    return left @ right.T


def two_towers(a: Tensor, b: Tensor) -> Tensor:
    with ts.variable_scope("left"):
        left = dense(a, "d")
    with ts.variable_scope("right"):
        right = dense(b, "d")
    return left @ right.T


def of(fn: Any, *args: Any) -> ts.SharingReport:
    return ts.sharing(ts.ScopedModule(fn), *args)


def misses(fn: Any, *args: Any) -> list[tuple[str, ...]]:
    return [miss.variables for miss in of(fn, *args).near_misses]


# ---- places --------------------------------------------------------------------------------------


def test_a_variable_has_the_place_where_it_was_made_and_those_where_it_was_asked_for():
    net = ts.ScopedModule(siamese).build(X, X)
    variable = ts.sharing(net, X, X).variables[0]
    assert (variable.name, variable.scope, variable.kind) == (
        "encoder/d/w",
        "encoder/d",
        "parameter",
    )
    assert (variable.shape, variable.count, variable.bytes) == ([4, 4], 16, 64)
    made = variable.made
    assert made is not None
    assert (made.file, made.line, made.function) == (__file__, line_of("asked for here"), "dense")
    assert made.code == 'w = ts.get_variable("w", [4, 4])  # asked for here'
    [fetch] = variable.fetches
    assert (fetch.line, fetch.function, fetch.scope, fetch.times) == (
        made.line,
        "dense",
        "encoder/d",
        2,
    )
    calls = [line_of("the first call"), line_of("the second call")]
    assert [(caller.function, caller.line) for caller in fetch.callers] == [
        ("siamese", line) for line in calls
    ]


def test_all_that_asks_for_something_is_seen():
    def model(x: Tensor) -> Tensor:
        with ts.variable_scope("all", reuse=ts.AUTO_REUSE):
            for _ in range(3):
                mean = ts.get_buffer("mean", [4])
                count = ts.get_local_variable("count", [])
                layer = ts.get_module("layer", nn.Linear, 4, 4)
                x = layer(x + mean + count) * ts.get_variable_scope().get_variable("scale", [4])
            return x

    report = of(model, X)
    assert {
        name: sum(fetch.times for fetch in fetches) for name, fetches in report.shared.items()
    } == {
        "all/mean": 3,
        "all/count": 3,
        "all/scale": 3,
        "all/layer/weight": 3,
        "all/layer/bias": 3,
    }
    kinds = {one.name: one.kind for one in report.variables}
    assert kinds["all/mean"] == kinds["all/count"] == "buffer"


def test_the_place_is_the_users_line_where_a_layer_of_tf1_asks():
    def model(x: Tensor) -> Tensor:
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            x = tf.layers.dense(x, 4, name="d")  # a layer of tf1
            return tf.layers.dense(x, 4, name="d")

    kernel = of(model, X).variables[0]
    first, second = kernel.fetches
    assert kernel.made is not None
    assert kernel.made.line == first.line == line_of("a layer of tf1") == second.line - 1
    assert first.file == __file__


def test_custom_getters_work_as_ever_and_what_they_get_is_seen():
    def doubled(getter: Any, name: str, *args: Any, **kwargs: Any) -> Tensor:
        return 2 * getter(name, *args, **kwargs)

    def model(x: Tensor) -> Tensor:
        with ts.variable_scope("g", custom_getter=doubled):
            return dense(x, "d")

    net = ts.ScopedModule(model).build(X)
    given: list[Tensor] = []
    net.register_forward_hook(lambda *args: given.append(args[2]))
    report = ts.sharing(net, X)
    assert [one.fetches[0].times for one in report.variables] == [1, 1]
    assert torch.equal(given[0], net(X))


def test_blocks_and_templates_have_their_full_names():
    def model(x: Tensor) -> Tensor:
        block = ts.get_module("h0", lambda: ts.ScopedModule(lambda x: dense(x, "in")))
        layer = ts.make_template("layer", lambda x: dense(x, "in"))
        return layer(layer(block(block(x))))

    report = of(model, X)
    assert {*report.shared} == {"layer/in/w", "layer/in/b", "h0/in/w", "h0/in/b"}
    scopes = {one.name: one.fetches[0].scope for one in report.variables}
    assert scopes["h0/in/w"] == "h0/in"


def test_a_module_got_once_and_called_twice_is_shared():
    def model(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        layer = ts.get_module("layer", nn.Linear, 4, 4)  # the get
        return layer(a), layer(b)  # the calls

    first, second = of(model, X, X).shared["layer/weight"]
    assert (first.line, second.line) == (line_of("the get"), line_of("the calls"))


def test_bound_functions_and_recomputing_count_once():
    def model(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        block = ts.bind(lambda x: dense(x, "d"))
        y = checkpoint(block, x, use_reentrant=False)
        return torch.autograd.grad(y.sum(), x)[0]

    assert {one.name: one.fetches[0].times for one in of(model, X).variables} == {
        "d/w": 1,
        "d/b": 1,
    }


def test_the_default_store_and_other_stores_can_be_asked_with_a_function():
    ts.default_store()(dense, X, "d")
    assert ts.sharing(ts.default_store(), dense, X, "d").unused == []
    store = ts.VariableStore()
    report = ts.sharing(store, siamese, X, X)
    assert list(report.shared) == ["encoder/d/w", "encoder/d/b"]
    with pytest.raises(TypeError, match=re.escape("ts.sharing(store, fn, *example)")):
        ts.sharing(store)


def test_what_is_asked_of_a_store_elsewhere_is_told():
    other = ts.VariableStore()

    def model(x: Tensor) -> Tensor:
        with other:
            return dense(x, "d")

    assert "VariableStore" in of(model, X).notes[0]


def test_a_module_around_stores_has_torchs_names_and_theirs():
    net = nn.Sequential(nn.Linear(4, 4), ts.ScopedModule(siamese_of_one))
    names = [one.name for one in ts.sharing(net, X).variables]
    assert names == ["0.weight", "0.bias", "1.encoder/d/w", "1.encoder/d/b"]


def siamese_of_one(x: Tensor) -> Tensor:
    return siamese(x, x)


# ---- shared, unused ------------------------------------------------------------------------------


def test_what_the_pass_does_not_meet_is_unused():
    def model(x: Tensor, deep: bool) -> Tensor:
        x = dense(x, "first")
        return dense(x, "second") if deep else x

    net = ts.ScopedModule(model).build(X, True)
    assert ts.sharing(net, X, False).unused == ["second/w", "second/b"]
    assert ts.sharing(net, X, True).unused == []


def test_the_image_filter_shares_or_does_not():
    images = torch.ones(1, 1, 8, 8)
    names = [f"model/conv{i}/{name}" for i in (1, 2) for name in ("weights", "biases")]
    for share in (image_filter.share_by_call, image_filter.share_by_reuse):
        report = of(share, images, images)
        assert list(report.shared) == names
        assert report.near_misses == []
    report = of(image_filter.share_none, images, images)
    assert not report.shared
    assert [miss.variables[0].partition("/")[0] for miss in report.near_misses] == ["left"] * 4


def test_the_examples_share_what_they_say_and_have_no_near_miss():
    words = torch.zeros(1, 2, dtype=torch.int64)
    tied = weight_tying.make_scoped()
    assert list(ts.sharing(tied).shared) == ["embedding/table"]
    by_hand = ts.sharing(weight_tying.TiedByHand(), words)
    assert [tie.names for tie in by_hand.tied] == [("embedding.weight", "output.weight")]
    assert by_hand.unused == []

    store, noise = gan.make_store(0, "cpu"), torch.zeros(2, gan.NOISE)
    judged = lambda real, z: (gan.discriminator(real), store(gan.discriminator, gan.generator(z)))  # noqa: E731
    report = ts.sharing(store, judged, torch.zeros(2, gan.PIXELS), noise)
    assert {name.partition("/")[0] for name in report.shared} == {"discriminator"}

    model = dcgan.DCGAN()
    images, z = torch.zeros(2, 8, 8, 1), torch.zeros(2, 16)
    shared = ts.sharing(ts.VariableStore(), model.build_model, images, z)
    assert {name.partition("/")[0] for name in shared.shared} == {"discriminator"}

    text = torch.zeros(2, 5, dtype=torch.int64)
    rnn = ts.sharing(ts.VariableStore(), char_rnn.Model(vocab_size=9).predict, text)
    for one in (ts.sharing(tied), report, shared, rnn):
        assert one.near_misses == []
        assert one.unused == []


@pytest.mark.parametrize("share", shared_variables_tf1.WAYS.values())
def test_the_ways_of_tensorflows_guide_share(share: Any):
    images = torch.ones(1, 8, 8, 32)
    report = of(share, images, images)
    assert len(report.shared) == len(report.variables) == 4
    assert all(
        fetch.file == shared_variables_tf1.__file__
        for fetch in report.shared["model/conv1/weights"]
    )


# ---- near misses ---------------------------------------------------------------------------------


def test_two_towers_are_a_near_miss():
    assert misses(two_towers, X, X) == [("left/d/w", "right/d/w"), ("left/d/b", "right/d/b")]


def test_two_towers_in_one_line_are_a_near_miss():
    assert misses(lambda a, b: (dense(a, "l"), dense(b, "r")), X, X)[0] == ("l/w", "r/w")


def test_towers_whose_names_were_only_counted_on_are_a_near_miss_in_a_loop_too():
    def towers(*inputs: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        for x in inputs:
            with ts.variable_scope(None, "tower"):
                outputs.append(dense(x, "d"))
        return outputs

    assert misses(towers, X, X, X)[0] == ("tower/d/w", "tower_1/d/w", "tower_2/d/w")


def test_towers_that_a_loop_names_are_a_near_miss():
    def towers(*inputs: Tensor) -> list[Tensor]:
        names = ("anchor", "same", "other")
        return [dense(x, name) for name, x in zip(names, inputs, strict=True)]

    assert misses(towers, X, X, X)[0] == ("anchor/w", "same/w", "other/w")


def test_modules_kept_in_sibling_scopes_are_a_near_miss():
    def tower(x: Tensor, name: str) -> Tensor:
        with ts.variable_scope(name):
            return ts.get_module("layer", nn.Linear, 4, 4)(x)

    assert misses(lambda a, b: (tower(a, "l"), tower(b, "r")), X, X)[0] == (
        "l/layer/weight",
        "r/layer/weight",
    )


@pytest.mark.parametrize(
    "model",
    [
        lambda x: functools.reduce(lambda x, i: dense(x, f"h{i}"), range(5), x),
        lambda x: dense(dense(x, "first"), "second"),
        lambda x: x + dense(x + dense(x, "first"), "second"),
        lambda x: tf.layers.dense(tf.layers.dense(x, 4), 4),
        lambda x: [dense(x, name) for name in ("head0", "head1")],
        lambda x: (dense(x, "query"), dense(x, "key"), dense(x, "value")),
        lambda x: [dense(part, f"level{i}") for i, part in enumerate(x.chunk(2))],
    ],
    ids=["loop", "unrolled", "residual", "tf1", "heads", "query", "levels"],
)
def test_layers_are_not_near_misses(model: Any):
    assert misses(model, X) == []


def test_gpt2_has_no_near_miss():
    hparams = gpt2.HParams(n_vocab=61, n_ctx=16, n_embd=24, n_head=2, n_layer=3)
    report = of(functools.partial(gpt2.model, hparams), torch.zeros(1, 4, dtype=torch.int64))
    assert report.near_misses == []
    assert report.unused == []


def test_a_gan_shares_its_critic_and_its_parts_are_not_near_misses():
    def critic(x: Tensor) -> Tensor:
        with ts.variable_scope("critic", reuse=ts.AUTO_REUSE):
            return dense(dense(x, "d1"), "d2")

    def gan(real: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        with ts.variable_scope("generator"):
            fake = dense(noise, "d1")
        return critic(real), critic(fake)

    report = of(gan, X, X)
    assert [*report.shared] == ["critic/d1/w", "critic/d1/b", "critic/d2/w", "critic/d2/b"]
    assert report.near_misses == []


def test_a_near_miss_says_why_and_what_to_type():
    miss = of(two_towers, X, X).near_misses[0]
    assert miss.place.function == "dense"
    assert "'left/' and 'right/' are filled by the same lines" in miss.why
    assert "reuse=ts.AUTO_REUSE" in miss.why


def test_variables_declared_by_hand_in_one_loop_are_not_near_misses():
    store = ts.VariableStore()
    for name in ("left", "right"):
        store[f"{name}/w"] = nn.Parameter(torch.ones(4, 4))

    def model(a: Tensor, b: Tensor) -> Tensor:
        with ts.variable_scope("left"):
            a = a @ ts.get_variable("w")
        with ts.variable_scope("right"):
            return a @ (b @ ts.get_variable("w")).T

    assert ts.sharing(store, model, X, X).near_misses == []


# ---- tied by hand --------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 5, bias=False)
        self.out.weight = self.embedding.weight


def test_parameters_that_are_one_object_are_listed_with_both_names():
    report = ts.sharing(Tied())
    assert report.to_dict()["tied"] == [
        {"names": ["embedding.weight", "out.weight"], "how": "one object"}
    ]
    assert list(report.shared) == ["embedding.weight"]
    assert report.unused == []


@pytest.mark.parametrize(
    "untie",
    [
        lambda weight: nn.Parameter(weight.data),
        lambda weight: nn.Parameter(weight.detach()),
        lambda weight: nn.Parameter(weight.data[1:]),
        lambda weight: nn.Parameter(weight.data.t()),
        lambda weight: nn.Parameter(torch.from_numpy(weight.detach().numpy())),
    ],
    ids=["data", "detach", "part", "transposed", "numpy"],
)
def test_two_parameters_in_one_memory_are_listed(untie: Any):
    model = Tied()
    model.out.weight = untie(model.embedding.weight)
    assert ts.sharing(model).tied == [(("embedding.weight", "out.weight"), "one memory")]


def test_parameters_that_lie_side_by_side_in_one_memory_are_not_tied():
    flat = torch.zeros(4, 6)
    model = nn.ParameterList([flat[:2], flat[2:, :3], flat[2:, 3:]])
    assert ts.sharing(model).tied == []
    overlapping = nn.ParameterList([flat[:3], flat[2:, :3], flat[2:, 3:]])
    assert ts.sharing(overlapping).tied == [(("0", "1", "2"), "one memory")]


def test_ties_are_found_on_the_meta_device_and_not_invented_there():
    with torch.device("meta"):
        assert ts.sharing(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))).tied == []
        model = Tied()
        model.out.weight = nn.Parameter(model.embedding.weight.detach())
    assert ts.sharing(model).tied == [(("embedding.weight", "out.weight"), "one memory")]


def test_a_plain_module_called_twice_shares_and_one_that_is_not_called_is_unused():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            self.attention = nn.MultiheadAttention(4, 2)  # uses its out_proj without a call
            self.idle = nn.Linear(4, 4)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            left = self.encoder(a)
            right = self.encoder(b)
            return self.attention(left, right, right)[0]

    report = ts.sharing(Plain(), X, X)
    assert list(report.shared) == ["encoder.0.weight", "encoder.0.bias"]
    assert report.unused == ["idle.weight", "idle.bias"]


# ---- nothing changes -----------------------------------------------------------------------------


class Restless(nn.Module):
    """Changes all that a module can change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("steps", torch.zeros(()))
        self.calls, self.history = 0, []
        self.loose = torch.zeros(2)

    def forward(self, x: Tensor, fail: bool = False) -> Tensor:
        self.calls += 1
        self.history.append(random.random())
        self.steps = self.steps + torch.rand(())
        self.loose.add_(1)
        self.eval()
        self.train()
        self.norm.weight.data.mul_(2)
        self.norm.bias.requires_grad_(False)
        self.extra = x.mul_(2)
        if fail:
            raise KeyError("in the middle")
        return self.norm(x)


def all_of(module: nn.Module) -> list[Any]:
    return [
        {key: value.tolist() for key, value in module.state_dict().items()},
        [(name, id(p), p.requires_grad, p.grad) for name, p in module.named_parameters()],
        [(name, id(b)) for name, b in module.named_buffers()],
        [(name, one.training, sorted(vars(one))) for name, one in module.named_modules()],
        torch.get_rng_state().tolist(),
        random.getstate(),
    ]


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_recorded_pass_changes_nothing(fail: bool, training: bool):
    module, x = Restless().train(training), torch.ones(3, 4)
    before = all_of(module)
    if fail:
        with pytest.raises(KeyError, match="in the middle"):
            ts.sharing(module, x, fail)
    else:
        ts.sharing(module, x)
    assert all_of(module) == before
    assert (module.calls, module.history, module.loose.tolist()) == (0, [], [0, 0])
    assert x.tolist() == torch.ones(3, 4).tolist()


def test_a_net_that_was_not_built_is_not_built_by_it():
    net = ts.ScopedModule(siamese, seed=1)
    report = ts.sharing(net, X, X)
    assert len(report.variables) == 2
    assert (net.built, list(net), list(net.state_dict())) == (False, [], [])
    net.build(X, X)
    same = ts.ScopedModule(siamese, seed=1).build(X, X)
    assert all(torch.equal(net[name], same[name]) for name in same)
    assert net.origin("encoder/d/w") == same.origin("encoder/d/w")


def test_values_loaded_before_the_build_wait_as_before():
    state = ts.ScopedModule(siamese).build(X, X).state_dict()
    net = ts.ScopedModule(siamese)
    net.load_state_dict(state)
    ts.sharing(net, X, X)
    assert not net.built
    net.build(X, X)
    assert all(torch.equal(net.state_dict()[key], state[key]) for key in state)


def test_a_pass_that_is_refused_leaves_the_net_unbuilt_and_the_thread_clean():
    def twice(x: Tensor) -> Tensor:
        return dense(dense(x, "d"), "d")

    net = ts.ScopedModule(twice)
    with pytest.raises(ts.VariableExistsError, match="'d/w' already exists"):
        ts.sharing(net, X)
    assert (net.built, len(net), here.passes, type(here.passes)) == (False, 0, [], list)


def test_inside_another_pass_the_names_it_met_stay_its_own():
    with ts.VariableStore() as store:
        dense(X, "d")
        report = ts.sharing(store, dense, X, "d")
        assert [one.fetches[0].times for one in report.variables] == [1, 1]
        with pytest.raises(ts.VariableExistsError):
            dense(X, "d")
        dense(X, "e")
    assert len(store) == 4


def test_the_default_store_is_left_as_it_was():
    class Tutorial(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with ts.variable_scope(None, "layer"):
                return dense(x, "d")

    assert "DefaultStore" in ts.sharing(Tutorial(), X).notes[0]
    assert len(ts.default_store()) == 0
    Tutorial()(X)
    ts.sharing(Tutorial(), X)
    Tutorial()(X)
    assert list(ts.default_store())[::2] == ["layer/d/w", "layer_1/d/w"]


def test_no_gradient_is_kept_and_no_warning_given():
    net = ts.ScopedModule(siamese).build(X, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ts.sharing(net, X.clone().requires_grad_(), X)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_nothing_is_recorded_outside_of_it():
    net = ts.ScopedModule(siamese).build(X, X)
    ts.sharing(net, X, X)
    assert type(here.passes) is list
    with net:
        assert type(here.passes[-1].met) is dict


# ---- compiled, transformed, computed -------------------------------------------------------------


def test_compiled_nets_and_functions_are_seen_and_stay_compiled():
    net = ts.ScopedModule(siamese).build(X, X)
    compiled: Any = torch.compile(net, backend="eager", fullgraph=True)
    compiled(X, X)
    assert list(ts.sharing(compiled, X, X).shared) == ["encoder/d/w", "encoder/d/b"]
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(X, X)

    part = torch.compile(dense, backend="eager")

    def model(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        with ts.variable_scope("m", reuse=ts.AUTO_REUSE):
            return part(a, "d"), part(b, "d")

    assert list(of(model, X, X).shared) == ["m/d/w", "m/d/b"]


def test_functions_under_vmap_are_seen():
    def model(x: Tensor, mapped: bool) -> Tensor:
        return torch.func.vmap(lambda row: dense(row, "d"))(x) if mapped else dense(x, "d")

    net = ts.ScopedModule(model).build(X, False)
    assert ts.sharing(net, X, True).unused == []


def test_a_net_that_takes_gradients_of_its_inputs_is_recorded():
    def penalty(x: Tensor, y: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(dense(x, "d").sum() + y.sum(), x, create_graph=True)
        return gradient.square().sum()

    x = X.clone().requires_grad_()
    net = ts.ScopedModule(penalty)
    assert [one.fetches[0].times for one in ts.sharing(net, x, x).variables] == [1, 1]
    assert x.grad is None


def test_variables_that_are_computed_from_others_are_seen():
    net = ts.ScopedModule(siamese).build(X, X)
    torch.nn.utils.prune.random_unstructured(net, "encoder/d/w", 0.5)
    assert list(ts.sharing(net, X, X).shared) == [
        "encoder/d/b",
        "encoder/d/w_orig",
        "encoder/d/w_mask",
    ]
    net = ts.ScopedModule(siamese).build(X, X)
    nn.utils.parametrize.register_parametrization(net, "encoder/d/w", nn.Softplus())
    assert ts.sharing(net, X, X).unused == []


def test_on_the_meta_device_nothing_is_computed():
    meta = X.to("meta")
    assert list(of(siamese, meta, meta).shared) == ["encoder/d/w", "encoder/d/b"]


# ---- the report ----------------------------------------------------------------------------------


def test_the_dictionary_is_ready_for_json():
    data = of(siamese, X, X).to_dict()
    assert json.loads(json.dumps(data)) == data
    assert {"format", "name", "variables", "shared", "unused", "near_misses", "tied"} <= data.keys()
    assert (data["format"], data["name"]) == (1, "ScopedModule(siamese)")
    [w, _] = data["variables"]
    assert w["fetches"][0]["code"].startswith("w = ts.get_variable")
    assert data["shared"] == ["encoder/d/w", "encoder/d/b"]


def many(x: Tensor) -> Tensor:
    for i in range(40):
        with ts.variable_scope(f"s{i}", reuse=ts.AUTO_REUSE):
            x = dense(dense(x, "d"), "d")
    return x


@pytest.mark.parametrize("width", [12, 20, 40, 80, 200])
@pytest.mark.parametrize("fn", [siamese_of_one, many, lambda x: two_towers(x, 2 * x)])
def test_it_is_printed_on_one_screen(fn: Any, width: int):
    text = of(fn, X).text(width)
    assert all(len(line) <= width for line in text.splitlines())
    if width >= 80:
        assert len(text.splitlines()) <= 24


def test_all_can_be_printed():
    report = of(many, X)
    assert "report.shared" in str(report)
    assert "s39/d/" in report.text(lines=None)


def test_names_that_would_command_a_terminal_or_a_browser_are_shown_as_text():
    model = nn.Module()
    model.add_module("a\x1b[2J<script>", Tied())
    report = ts.sharing(model)
    assert "\x1b" not in str(report)
    assert "<script>" not in report._repr_html_()
    assert "a\\x1b[2J&lt;script&gt;" in report._repr_html_()
    assert report.tied[0].names[0].startswith("a\x1b[2J<script>")


def test_thousands_of_variables_take_seconds_and_fit_on_a_screen():
    def deep(x: Tensor) -> Tensor:
        for i in range(500):
            x = dense(x, f"h{i}")
        return x

    net = ts.ScopedModule(deep).build(X)
    begun = time.process_time()
    report = ts.sharing(net, X)
    assert time.process_time() - begun < 5
    assert report.near_misses == []
    assert len(str(report).splitlines()) <= 24


# ---- assertions ----------------------------------------------------------------------------------


def test_a_test_can_say_that_a_variable_is_shared():
    net = ts.ScopedModule(siamese).build(X, X)
    ts.assert_shared(net, "encoder/d/w")
    ts.assert_shared(net, "encoder/d/w", example=(X, X))
    ts.assert_shared(ts.sharing(net, X, X), "encoder/d/w")
    with pytest.raises(AssertionError, match=r"(?s)'encoder/d/w' is shared.*2 times at .*in dense"):
        ts.assert_not_shared(net, "encoder/d/w")


def test_a_test_can_say_that_variables_are_not_shared():
    net = ts.ScopedModule(two_towers).build(X, X)
    ts.assert_not_shared(net, "left/d/w", "right/d/w")
    ts.assert_not_shared(net, "left/d/w")
    with pytest.raises(AssertionError, match=r"(?s)not shared.*made at.*in dense.*'left/' and"):
        ts.assert_shared(net, "left/d/w")
    with pytest.raises(AssertionError, match="are not one parameter"):
        ts.assert_shared(net, "left/d/w", "right/d/w")


def test_a_test_can_say_that_a_plain_module_is_tied():
    ts.assert_shared(Tied(), "embedding.weight", "out.weight")
    ts.assert_shared(Tied(), "out.weight")
    with pytest.raises(AssertionError, match="are one object"):
        ts.assert_not_shared(Tied(), "embedding.weight", "out.weight")
    untied = Tied()
    untied.out.weight = nn.Parameter(untied.out.weight.data)
    with pytest.raises(AssertionError, match="are one memory"):
        ts.assert_not_shared(untied, "embedding.weight", "out.weight")
    with pytest.raises(AssertionError, match=r"(?s)are not one parameter.*one memory"):
        ts.assert_shared(untied, "embedding.weight", "out.weight")


def test_assertions_refuse_what_they_cannot_tell():
    net = ts.ScopedModule(siamese).build(X, X)
    with pytest.raises(ts.VariableMissingError, match="Did you mean 'encoder/d/w'"):
        ts.assert_not_shared(net, "encoder/d/v")
    with pytest.raises(ts.ScopeError, match="takes names of variables"):
        ts.assert_shared(net, X)  # type: ignore[arg-type]
    with pytest.raises(ts.ScopeError, match=r"'siamese' takes arguments. Give them"):
        ts.assert_shared(ts.ScopedModule(siamese), "encoder/d/w")
    with pytest.raises(ts.ScopeError, match=r"only a pass can tell: example=\(x,\)"):
        ts.assert_not_shared(nn.Linear(2, 2), "weight")


def test_the_example_that_a_net_was_built_with_is_remembered_without_its_values():
    net = ts.ScopedModule(lambda x, *, scale: dense(x, "d") * scale)
    net.build(torch.full((2, 4), 7.0), scale=2)
    given: list[Any] = []
    net.register_forward_pre_hook(lambda *args: given.append(args[1:]), with_kwargs=True)
    ts.sharing(net)
    [((x,), kwargs)] = given
    assert (x.tolist(), kwargs) == (torch.zeros(2, 4).tolist(), {"scale": 2})


@pytest.mark.parametrize("wrong", [3, None, dense])
def test_what_is_not_a_module_is_refused(wrong: Any):
    with pytest.raises(TypeError, match="takes a net, a store or another"):
        ts.sharing(wrong)


def test_importing_torchscope_does_not_import_the_report():
    program = "import sys, torchscope; print([*sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "torchscope._store" in shown.stdout
    assert "torchscope.report" not in shown.stdout
    assert "torchscope._overview" not in shown.stdout
