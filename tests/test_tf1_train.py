"""tf.train beyond TensorFlow's records: as torch optimizers, slots, averages, bad input."""

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import torchscope as ts
import torchscope.tf1 as tf
from torchscope import checkpoint

DATA = Path(__file__).parent / "data"
RECORDED = np.load(DATA / "checkpoints" / "tf_facts" / "golden.npz")
DCGAN = np.load(DATA / "checkpoints" / "dcgan_tiny" / "golden.npz")
STEPS = 4
train = tf.train

RULES = {
    "sgd": train.GradientDescentOptimizer,
    "momentum": lambda params, rate: train.MomentumOptimizer(params, rate, 0.9),
    "nesterov": lambda params, rate: train.MomentumOptimizer(params, rate, 0.9, use_nesterov=True),
    "adam": train.AdamOptimizer,
    "rmsprop": lambda params, rate: train.RMSPropOptimizer(params, rate, momentum=0.9),
    "centered": lambda params, rate: train.RMSPropOptimizer(params, rate, centered=True),
    "adagrad": train.AdagradOptimizer,
    "adadelta": train.AdadeltaOptimizer,
    "ftrl": lambda params, rate: train.FtrlOptimizer(params, rate, -0.7, 0.2, 0.01, 0.02),
    "proximal_sgd": lambda params, rate: train.ProximalGradientDescentOptimizer(
        params, rate, 0.05, 0.1
    ),
    "proximal_adagrad": lambda params, rate: train.ProximalAdagradOptimizer(
        params, rate, 0.1, 0.05, 0.1
    ),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def variables():
    """Named parameters, the same ones each time."""
    stream = torch.Generator().manual_seed(1)
    shapes = {"a/w": (4, 3), "a/b": (3,), "c": ()}
    return [(n, nn.Parameter(torch.randn(s, generator=stream))) for n, s in shapes.items()]


def step(optimizer, pairs, number):
    """One step by gradients that follow from its number."""
    stream = torch.Generator().manual_seed(number)
    for _, parameter in pairs:
        parameter.grad = torch.randn(parameter.shape, generator=stream).to(parameter.dtype)
    optimizer.step()


def trained(rule, pairs, steps=STEPS, rate=0.1):
    optimizer = rule(pairs, rate)
    for number in range(steps):
        step(optimizer, pairs, number)
    return optimizer


def values(pairs):
    return [parameter.detach().clone() for _, parameter in pairs]


def assert_alike(one, other, **tolerance):
    torch.testing.assert_close(list(one), list(other), **tolerance)


def net_of(**constraints):
    """A net of two vectors, and the loss of nothing."""

    def model():
        w = ts.get_variable("w", [3], constraint=constraints.get("w"))
        v = ts.get_variable("v", [3], constraint=constraints.get("v"))
        return (w * w).sum() + (v - 1).square().sum()

    return ts.ScopedModule(model, seed=0).build()


# ---- as torch's optimizers ---------------------------------------------------------------------


@every_rule
def test_training_goes_on_from_a_saved_state(rule):
    straight = variables()
    optimizer = trained(rule, straight)

    pairs = variables()
    first = trained(rule, pairs, STEPS - 1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = rule(pairs, 0.5)
    second.load_state_dict(torch.load(file, weights_only=True))
    step(second, pairs, STEPS - 1)

    assert_alike(values(pairs), values(straight), rtol=0, atol=0)
    slots, expected = second.slot_variables(), optimizer.slot_variables()
    assert list(slots) == list(expected)
    assert_alike(slots.values(), expected.values(), rtol=0, atol=0)


@every_rule
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_trains_the_copied_variables(rule, copied):
    pairs = variables()
    optimizer = trained(rule, pairs, 2)
    before = values(pairs)
    copied_pairs, copied_optimizer = copied((pairs, optimizer))
    step(copied_optimizer, copied_pairs, 2)
    assert_alike(values(pairs), before, rtol=0, atol=0)
    step(optimizer, pairs, 2)
    assert_alike(values(pairs), values(copied_pairs), rtol=0, atol=0)
    assert list(copied_optimizer.slot_variables()) == list(optimizer.slot_variables())


@every_rule
@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_a_step_compiles_to_one_graph_and_stays_compiled(rule, rate):
    torch._dynamo.reset()
    pairs, expected = variables(), variables()
    optimizer = rule(pairs, rate)
    step(optimizer, pairs, 0)  # makes the slots
    counter = CompileCounterWithBackend("eager")
    uncompiled = optimizer.step
    optimizer.step = torch.compile(lambda: uncompiled(), fullgraph=True, backend=counter)
    for number in range(1, 7):
        step(optimizer, pairs, number)
    trained(rule, expected, 7)
    assert_alike(values(pairs), values(expected), rtol=1e-5, atol=1e-6)
    assert counter.frame_count == 1


@every_rule
def test_variables_in_bfloat16_are_trained_in_it(rule):
    pairs = [(n, nn.Parameter(p.detach().bfloat16())) for n, p in variables()]
    expected = [(n, nn.Parameter(p.detach().float())) for n, p in pairs]
    optimizer = trained(rule, pairs, 2)
    trained(rule, expected, 2)
    assert {t.dtype for n, t in optimizer.slot_variables().items() if "power" not in n} <= {
        torch.bfloat16
    }
    assert_alike([v.float() for v in values(pairs)], values(expected), rtol=0.05, atol=0.05)


@every_rule
def test_a_variable_without_gradient_stays_and_gets_no_slots(rule):
    pairs = variables()
    optimizer = rule(pairs, 0.1)
    pairs[0][1].grad = torch.ones(4, 3)
    before = values(pairs)
    optimizer.step()
    assert not values(pairs)[0].equal(before[0])
    assert_alike(values(pairs)[1:], before[1:], rtol=0, atol=0)
    assert not [name for name in optimizer.slot_variables() if name.startswith(("a/b", "c"))]


@every_rule
def test_groups_have_settings_of_their_own(rule):
    pairs, expected = variables(), variables()
    optimizer = rule([{"params": pairs[:1]}, {"params": pairs[1:], "learning_rate": 0.3}], 0.1)
    others = rule(expected[:1], 0.1), rule(expected[1:], 0.3)
    for number in range(STEPS):
        step(optimizer, pairs, number)
        for _, p in expected:
            p.grad = None
        for one in others:
            for (_, p), (_, q) in zip(expected, pairs, strict=True):
                p.grad = q.grad
            one.step()
    assert_alike(values(pairs), values(expected), rtol=1e-6, atol=1e-7)


def test_a_group_added_later_is_trained_from_then_on():
    pairs = variables()
    optimizer = train.AdamOptimizer(pairs[:1], 0.1)
    step(optimizer, pairs, 0)
    optimizer.add_param_group({"params": pairs[1:], "beta1": 0.5, "learning_rate": lambda: 0.2})
    step(optimizer, pairs, 1)
    assert [float(g["beta1_power"]) for g in optimizer.param_groups] == pytest.approx([0.729, 0.25])
    assert optimizer.param_groups[1]["lr"] == 0.2
    assert optimizer.param_groups[1]["param_names"] == ["a/b", "c"]


def test_torchs_schedulers_set_the_rate():
    pairs, rates = variables(), []
    optimizer = train.MomentumOptimizer(pairs, 0.4, 0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    for number in range(5):
        step(optimizer, pairs, number)
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    assert rates == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])
    expected = variables()
    given = iter(rates)
    trained(lambda p, _: train.MomentumOptimizer(p, lambda: next(given), 0.9), expected, 5)
    assert_alike(values(pairs), values(expected), rtol=0, atol=0)


def test_a_rate_that_is_a_function_is_asked_once_a_step_and_seen_afterwards():
    pairs, asked = variables(), []
    optimizer = train.GradientDescentOptimizer(pairs, lambda: asked.append(1) or 0.5 / len(asked))
    for number in range(3):
        step(optimizer, pairs, number)
        assert len(asked) == number + 1
        assert optimizer.param_groups[0]["lr"] == 0.5 / len(asked)


def test_a_closure_computes_the_loss_and_its_gradients():
    net = net_of()
    optimizer = train.AdamOptimizer(net.named_parameters())

    def closure():
        optimizer.zero_grad()
        loss = net()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] != losses[2]


def test_hooks_on_steps_are_called():
    pairs, called = variables(), []
    optimizer = train.AdamOptimizer(pairs)
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    step(optimizer, pairs, 0)
    assert called == [1]


def test_a_grad_scaler_unscales_and_skips():
    pairs, expected = variables(), variables()
    optimizer = train.AdamOptimizer(pairs, 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (1.0, float("inf")):
        loss = sum((p * p).sum() for _, p in pairs)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        pairs[0][1].grad *= factor
        scaler.step(optimizer)
        scaler.update()
    other = train.AdamOptimizer(expected, 0.1)
    other.minimize(sum((p * p).sum() for _, p in expected))
    assert_alike(values(pairs), values(expected), rtol=1e-6, atol=1e-7)


@every_rule
def test_a_step_at_rate_zero_makes_the_slots_and_moves_nothing(rule):
    # So does torch.distributed.checkpoint, to have a state to load into.
    pairs = variables()
    optimizer = rule(pairs, 0.1)
    for _, parameter in pairs:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert_alike(values(pairs), values(variables()), rtol=0, atol=0)
    assert len(optimizer.state) == (3 if optimizer.get_slot_names() else 0)


@pytest.mark.parametrize("given", [lambda net: net, lambda net: net.named_parameters()])
@pytest.mark.parametrize("inside", [False, True], ids=["itself", "in a bigger one"])
def test_a_net_that_was_not_built_is_refused(given, inside):
    net = ts.ScopedModule(lambda x: x * ts.get_variable("w", [2]))
    bigger = nn.Sequential(nn.Linear(2, 2), net)
    with pytest.raises(ts.NotBuiltError, match="AdamOptimizer is given a ScopedModule that was no"):
        train.AdamOptimizer(given(bigger if inside else net))


# ---- gradients of rows -------------------------------------------------------------------------


def rows(ids, stream):
    """A sparse gradient with equal rows apart, as looking up gives it."""
    rows = torch.randn(len(ids), 3, generator=stream)
    return torch.sparse_coo_tensor(torch.tensor([ids]), rows, (6, 3), check_invariants=True)


@every_rule
def test_a_gradient_of_rows_moves_these_rows_alone_unless_it_is_adams(rule):
    start = torch.randn(6, 3, generator=torch.manual_seed(0))
    table = nn.Parameter(start.clone())
    each = [(f"row{i}", nn.Parameter(row.clone())) for i, row in enumerate(start)]
    optimizer, expected = rule([("table", table)], 0.1), rule(each, 0.1)
    stream = torch.Generator().manual_seed(2)
    for ids in ([1, 3, 3, 0], [3, 4], [0, 0, 3], []):
        table.grad = rows(ids, stream)
        dense = table.grad.to_dense()
        for i, (_, row) in enumerate(each):
            row.grad = dense[i] if i in ids or isinstance(optimizer, train.AdamOptimizer) else None
        optimizer.step()
        expected.step()
    assert_alike(table.detach(), torch.stack(values(each)), rtol=1e-6, atol=1e-7)
    assert table.detach()[2].equal(start[2])
    assert table.detach()[5].equal(start[5])


def test_what_an_optimizer_holds_gets_gradients_of_rows():
    net = ts.ScopedModule(lambda i: tf.nn.embedding_lookup(ts.get_variable("e", [6, 3]), i).sum())
    ids = torch.tensor([1, 1, 4])
    net.build(ids)
    optimizer = train.MomentumOptimizer(net.named_parameters(), 0.1, 0.9)
    ((gradient, _),) = optimizer.compute_gradients(net(ids))
    assert gradient.is_sparse
    assert len(gradient._values()) == 3
    before = net["e"].detach().clone()
    optimizer.minimize(net(ids))
    assert (net["e"] != before).any(1).tolist() == [False, True, False, False, True, False]
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    optimizer.minimize(compiled(ids))


# ---- constraints -------------------------------------------------------------------------------


@every_rule
def test_constraints_are_applied_after_a_step_to_what_it_has_moved(rule):
    net = net_of(w=lambda w: w.clamp(0.2, 0.3), v=lambda v: v.clamp(5, 6))
    optimizer = rule(net.named_parameters(), 0.1)  # the store is not entered
    v = net["v"].detach().clone()
    net["w"].grad = torch.tensor([1.0, -1.0, 0.0])
    optimizer.step()
    assert ((net["w"] >= 0.2) & (net["w"] <= 0.3)).all()
    assert net["v"].equal(v)


def test_a_constraint_on_rows_is_refused_and_nothing_moves():
    def model():
        table = ts.get_variable("e", [6, 3], constraint=torch.relu)
        return tf.nn.embedding_lookup(table, [1, 2]).sum() + ts.get_variable("w", [2]).sum()

    net = ts.ScopedModule(model).build()
    optimizer = train.GradientDescentOptimizer(net.named_parameters(), 0.1)
    before = values(net.items())
    with pytest.raises(RuntimeError, match="a variable with a constraint has a sparse"):
        optimizer.minimize(net())
    assert_alike(values(net.items()), before, rtol=0, atol=0)


# ---- minimize and kin --------------------------------------------------------------------------


def test_minimize_is_backward_and_step():
    net, other = net_of(), net_of()
    train.AdamOptimizer(net.named_parameters(), 0.1).minimize(net())
    optimizer = train.AdamOptimizer(other, 0.1)
    other().backward()
    optimizer.step()
    assert_alike(net.values(), other.values(), rtol=0, atol=0)
    assert net["w"].grad is None


def test_minimize_trains_the_variables_it_is_given_and_counts():
    net = net_of()
    optimizer = train.GradientDescentOptimizer(net.named_parameters(), 0.5)
    count, w = torch.tensor(7), net["w"].detach().clone()
    optimizer.minimize(net(), global_step=count, var_list=[net["v"]])
    assert net["w"].equal(w)
    torch.testing.assert_close(net["v"].detach(), torch.ones(3))
    assert count == 8


def test_gradients_of_two_losses_of_one_forward_can_be_applied_together():
    net = net_of()
    w, v = net["w"], net["v"]
    optimizer = train.GradientDescentOptimizer(net.named_parameters(), 0.5)
    loss = net()
    first = optimizer.compute_gradients(loss, [w])
    second = optimizer.compute_gradients(loss, [v], grad_loss=torch.tensor(0.0))
    start = v.detach().clone()
    optimizer.apply_gradients([*first, *second])
    assert_alike([w.detach(), v.detach()], [torch.zeros(3), start])


def test_a_variable_that_the_loss_does_not_reach_has_no_gradient():
    net = net_of()
    optimizer = train.AdamOptimizer(net.named_parameters())
    found = optimizer.compute_gradients((net["w"] ** 2).sum())
    assert [gradient is None for gradient, _ in found] == [False, True]
    optimizer.apply_gradients(found)
    assert list(optimizer.slot_variables())[2:] == ["w/Adam", "w/Adam_1"]


@pytest.mark.parametrize("call", ["minimize", "apply_gradients"])
def test_training_inside_a_pass_is_refused(call):
    def model():
        loss = (ts.get_variable("w", [2]) ** 2).sum()
        if optimizers:
            what = loss if call == "minimize" else optimizers[0].compute_gradients(loss)
            getattr(optimizers[0], call)(what)
        return loss

    optimizers = []
    net = ts.ScopedModule(model).build()
    before = net["w"].detach().clone()
    optimizers.append(train.AdamOptimizer(net.named_parameters()))
    message = rf"{call}\(\) would train at every forward: .* optimizer.{call}\(...\) for each step"
    with pytest.raises(ts.ScopeError, match=message):
        net()
    assert net["w"].equal(before)


def test_a_script_on_the_default_store_may_train():
    w = ts.get_variable("w", [2])
    optimizer = train.GradientDescentOptimizer(ts.trainable_variables(), 0.5)
    optimizer.minimize((w * w).sum())
    assert w.tolist() == [0.0, 0.0]


def test_an_optimizer_of_the_users_own_may_keep_slots_in_the_store():
    class SignDescent(train.Optimizer):  # as BERT's optimizer is written
        def __init__(self, rate):
            super().__init__(False, "SignDescent")
            self.rate = rate

        def apply_gradients(self, grads_and_vars, global_step=None, name=None):
            for gradient, variable in grads_and_vars:
                steps = tf.get_variable(
                    f"{ts.name_of(variable)}/steps", [], trainable=False,
                    initializer=tf.zeros_initializer(),
                )  # fmt: skip
                tf.assign_add(steps, 1.0)
                tf.assign_sub(variable, self.rate * tf.sign(gradient))

    def one_step():
        loss = (ts.get_variable("w", initializer=[1.0, -1.0]) ** 2).sum()
        optimizer = SignDescent(0.25)
        optimizer.minimize(loss)
        return optimizer.get_name()

    store = ts.VariableStore()
    assert [store(one_step) for _ in range(2)] == ["SignDescent"] * 2
    assert store["w"].tolist() == [0.5, -0.5]
    assert store["w/steps"] == 2


# ---- names of slots ----------------------------------------------------------------------------


def slots_of(net, **arguments):
    optimizer = train.AdamOptimizer(net.named_parameters(), **arguments)
    optimizer.minimize(net())
    return list(optimizer.slot_variables())


def one_vector():
    return ts.ScopedModule(lambda: (ts.get_variable("w", [2]) ** 2).sum()).build()


def test_optimizers_made_while_a_store_is_entered_count_on():
    net = one_vector()
    with net:
        optimizers = [train.AdamOptimizer(net.named_parameters()) for _ in range(2)]
    with net:
        optimizers.append(train.AdamOptimizer(net.named_parameters()))
    for optimizer in optimizers:
        optimizer.minimize(net())
    assert [list(optimizer.slot_variables()) for optimizer in optimizers] == [
        ["beta1_power", "beta2_power", "w/Adam", "w/Adam_1"],
        ["beta1_power_1", "beta2_power_1", "w/Adam_2", "w/Adam_3"],
        ["beta1_power_2", "beta2_power_2", "w/Adam_4", "w/Adam_5"],
    ]


def test_powers_of_adam_in_the_models_own_scope_have_the_graphs_second_name(store):
    with store, tf.variable_scope("net"):
        w = tf.get_variable("w", [2])
    powers: list[str] = []
    for scope in ("", "net", "train"):
        with store, tf.variable_scope(scope):
            powers += list(train.AdamOptimizer([w]).slot_variables())[:1]
    assert powers == ["beta1_power", "net_1/beta1_power", "train/beta1_power"]


def test_optimizers_made_outside_begin_without_a_number():
    net = one_vector()
    names = ["beta1_power", "beta2_power", "w/Adam", "w/Adam_1"]
    assert slots_of(net) == slots_of(net) == names


def test_on_the_default_store_optimizers_count_on():
    w = ts.get_variable("w", [2])
    for number in ("", "_1"):
        optimizer = train.MomentumOptimizer([w], 0.1, 0.9)
        optimizer.minimize((w * w).sum())
        assert list(optimizer.slot_variables()) == [f"w/Momentum{number}"]


def test_names_follow_blocks_and_dots():
    def model():
        block = ts.get_module("h0", lambda: ts.ScopedModule(inner))
        return block() + ts.get_variable("a.b", [2]).square().sum()

    def inner():
        with ts.variable_scope("attn"):
            return ts.get_variable("w", [2]).square().sum()

    net = ts.ScopedModule(model).build()
    assert slots_of(net, name="Mine")[2:] == [
        *("a.b/Mine", "a.b/Mine_1", "h0/attn/w/Mine", "h0/attn/w/Mine_1")
    ]


def test_ftrl_names_its_slots_as_it_is_told():
    net = one_vector()
    optimizer = train.FtrlOptimizer(net.named_parameters(), 0.1, accum_name="n", linear_name="z")
    optimizer.minimize(net())
    assert list(optimizer.slot_variables()) == ["w/n", "w/z"]
    assert optimizer.get_slot_names() == ["accum", "linear"]
    assert optimizer.get_slot(net["w"], "linear") is optimizer.variables()[1]
    assert optimizer.get_slot(net["w"], "other") is None
    assert optimizer.get_name() == "Ftrl"


# ---- slots from TensorFlow ---------------------------------------------------------------------

FACTS = {
    "opt_gd": lambda v: train.GradientDescentOptimizer(v, 0.1),
    "opt_momentum": lambda v: train.MomentumOptimizer(v, 0.1, 0.9),
    "opt_nesterov": lambda v: train.MomentumOptimizer(v, 0.1, 0.9, use_nesterov=True),
    "opt_adam": lambda v: train.AdamOptimizer(v, 0.01),
    "opt_adam_eps": lambda v: train.AdamOptimizer(v, 0.01, epsilon=1e-3),
    "opt_rmsprop": lambda v: train.RMSPropOptimizer(v, 0.01),
    "opt_rmsprop_a2c": lambda v: train.RMSPropOptimizer(v, 7e-4, 0.99, epsilon=1e-5),
    "opt_rmsprop_mom": lambda v: train.RMSPropOptimizer(v, 0.01, momentum=0.9, epsilon=1.0),
    "opt_rmsprop_centered": lambda v: train.RMSPropOptimizer(
        v, 0.01, momentum=0.9, epsilon=0.01, centered=True
    ),
    "opt_adagrad": lambda v: train.AdagradOptimizer(v, 0.1),
    "opt_adadelta": lambda v: train.AdadeltaOptimizer(v, 1.0),
    "opt_ftrl": lambda v: train.FtrlOptimizer(v, 0.1),
}


def test_twelve_optimizers_of_one_graph_have_tensorflows_values_under_its_names():
    gradients, start = (torch.tensor(RECORDED[f"opt/{name}"]) for name in ("grads", "start"))
    with ts.VariableStore() as store:
        made = {
            name: make([ts.get_variable(name, initializer=start)]) for name, make in FACTS.items()
        }
    for gradient in gradients:
        for name, optimizer in made.items():
            store[name].grad = gradient
            optimizer.step()
    saved = checkpoint.open(DATA / "checkpoints" / "tf_facts")
    found = dict(store.items())
    for optimizer in made.values():
        found |= optimizer.slot_variables()
    assert set(found) == {name for name in saved if name.startswith(("opt_", "beta"))}
    for name, value in found.items():
        torch.testing.assert_close(value.detach(), saved[name], rtol=1e-6, atol=1e-7)


def dcgan(images, z):
    """The model of cases/dcgan_tiny: losses of the discriminator and the generator."""

    def normed(x, name):
        return tf.nn.leaky_relu(
            tf.contrib.layers.batch_norm(
                *(x, 0.9), scale=True, epsilon=1e-5, updates_collections=None, scope=name
            ),
            0.2 if name.startswith("d") else 0.0,
        )

    def convolved(x, units, name):
        with tf.variable_scope(name):
            w = tf.get_variable("w", [5, 5, x.shape[-1], units])
            y = tf.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding="SAME")
            return tf.nn.bias_add(y, tf.get_variable("biases", [units]))

    def deconvolved(x, shape, name):
        with tf.variable_scope(name):
            w = tf.get_variable("w", [5, 5, shape[-1], x.shape[-1]])
            y = tf.nn.conv2d_transpose(x, w, output_shape=shape, strides=[1, 2, 2, 1])
            return tf.nn.bias_add(y, tf.get_variable("biases", [shape[-1]]))

    def linear(x, units, name):
        with tf.variable_scope(name):
            y = tf.matmul(x, tf.get_variable("Matrix", [x.shape[1], units]))
            return y + tf.get_variable("bias", [units])

    def discriminator(x):
        x = tf.nn.leaky_relu(convolved(x, 4, "d_h0_conv"))
        for i, units in enumerate([8, 16, 32], 1):
            x = normed(convolved(x, units, f"d_h{i}_conv"), f"d_bn{i}")
        return linear(tf.reshape(x, [len(x), -1]), 1, "d_h4_lin")

    def generator(z):
        x = normed(tf.reshape(linear(z, 128, "g_h0_lin"), [-1, 2, 2, 32]), "g_bn0")
        for i, (size, units) in enumerate([(3, 16), (5, 8), (10, 4)], 1):
            x = normed(deconvolved(x, [len(z), size, size, units], f"g_h{i}"), f"g_bn{i}")
        return tf.tanh(deconvolved(x, [len(z), 20, 20, 3], "g_h4"))

    def cross_entropy(logits, label):
        labels = tf.fill(logits.shape, label)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))

    with tf.variable_scope("generator"):
        fake = generator(z)
    with tf.variable_scope("discriminator") as scope:
        real = discriminator(images)
        scope.reuse_variables()
        fake = discriminator(fake)
    return cross_entropy(real, 1.0) + cross_entropy(fake, 0.0), cross_entropy(fake, 1.0)


def dcgan_trainer():
    images, z = (torch.tensor(DCGAN[name]) for name in ("images", "z"))
    net = ts.ScopedModule(dcgan).build(images, z)
    with net:
        optimizers = [
            train.AdamOptimizer(
                [(n, p) for n, p in net.named_parameters() if part in n], 0.02, 0.5, epsilon=0.01
            )
            for part in ("d_", "g_")
        ]

    def step():
        losses = []
        for which, optimizer in enumerate(optimizers):
            losses.append(net(images, z)[which])
            optimizer.minimize(losses[-1])
        return torch.stack(losses)

    return net, optimizers, step


def test_training_goes_on_from_slots_as_it_went_in_tensorflow():
    net, optimizers, step = dcgan_trainer()
    for folder in ("before/", "train_start/"):
        start = {k.removeprefix(folder): DCGAN[k] for k in DCGAN if k.startswith(folder)}
        checkpoint.load(net, start, strict=False)
    losses = torch.tensor(DCGAN["losses"])
    for expected in losses[:2]:
        torch.testing.assert_close(step(), expected, rtol=1e-5, atol=1e-5)
    left = {name: value.detach().clone() for name, value in net.items()}
    for optimizer in optimizers:
        left |= {name: value.clone() for name, value in optimizer.slot_variables().items()}
    assert len(left) == 120

    net, optimizers, step = dcgan_trainer()
    checkpoint.load(net, {name: left[name] for name in net})
    for optimizer in optimizers:
        optimizer.load_slots(left)
    torch.testing.assert_close(step(), losses[2], rtol=1e-5, atol=1e-5)
    saved = checkpoint.open(DATA / "checkpoints" / "dcgan_tiny")
    found = dict(net.items()) | optimizers[0].slot_variables() | optimizers[1].slot_variables()
    assert set(found) == set(saved)
    for name, value in found.items():
        if "moving" not in name:  # whose order TensorFlow leaves open
            torch.testing.assert_close(value.detach(), saved[name], rtol=1e-4, atol=1e-5)


def test_training_that_was_saved_goes_on_as_it_would_have(tmp_path):
    net, optimizers, step = dcgan_trainer()
    for folder in ("before/", "train_start/"):
        start = {k.removeprefix(folder): DCGAN[k] for k in DCGAN if k.startswith(folder)}
        checkpoint.load(net, start, strict=False)
    losses = torch.tensor(DCGAN["losses"])
    for expected in losses[:2]:
        torch.testing.assert_close(step(), expected, rtol=1e-5, atol=1e-5)
    slots = [optimizer.slot_variables() for optimizer in optimizers]
    path = checkpoint.save(net, tmp_path / "model.ckpt", step=2, slots=slots)
    with checkpoint.open(DATA / "checkpoints" / "dcgan_tiny") as tensorflows:
        assert dict(checkpoint.list_variables(path)) == {
            **{name: list(tensorflows.shape(name)) for name in tensorflows},
            "global_step": [],
        }

    other, its_optimizers, its_step = dcgan_trainer()
    checkpoint.load(other, path)
    for optimizer in its_optimizers:
        optimizer.load_slots(path)
    for _ in range(2):
        assert its_step().equal(step())
    for one, same in zip(net.values(), other.values(), strict=True):
        assert one.equal(same)
    for one, same in zip(optimizers, its_optimizers, strict=True):
        for slot, its_slot in zip(one.variables(), same.variables(), strict=True):
            assert slot.equal(its_slot)


def test_slots_are_read_from_a_checkpoint_by_its_path():
    saved = checkpoint.open(DATA / "checkpoints" / "dcgan_tiny")
    _, optimizers, _ = dcgan_trainer()
    names = [optimizer.load_slots(DATA / "checkpoints" / "dcgan_tiny") for optimizer in optimizers]
    assert [len(each) for each in names] == [34, 38]
    for optimizer in optimizers:
        for name, value in optimizer.slot_variables().items():
            torch.testing.assert_close(value, saved[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("v/Adam_1"), "'v/Adam_1' is missing"),
        (lambda s: s.update({"w/Adam": torch.ones(4)}), r"'w/Adam' is \[4\], not \[3\]"),
        (lambda s: s.update({"w/Adamm": s.pop("w/Adam")}), r"there is 'w/Adamm'"),
        (lambda s: s.pop("beta1_power"), "'beta1_power' is missing"),
        (lambda s: [s.pop("v/Adam"), s.pop("v/Adam_1")], "'v/Adam' is missing"),
    ],
)
def test_slots_that_do_not_fit_are_refused_and_nothing_is_changed(change, message):
    net = net_of()
    optimizer = train.AdamOptimizer(net.named_parameters())
    optimizer.minimize(net())
    slots = {name: 2 * value for name, value in optimizer.slot_variables().items()}
    before = {name: value.clone() for name, value in optimizer.slot_variables().items()}
    change(slots)
    with pytest.raises(ts.CheckpointError, match=message):
        optimizer.load_slots(slots)
    assert_alike(optimizer.slot_variables().values(), before.values(), rtol=0, atol=0)


def test_a_variable_that_had_no_gradient_may_have_no_slots():
    net = net_of()
    slots = {"beta1_power": 0.5, "beta2_power": 0.75, "w/Adam": [1, 2, 3], "w/Adam_1": [4, 5, 6]}
    optimizer = train.AdamOptimizer(net.named_parameters())
    assert optimizer.load_slots(slots, strict=False) == ["w/Adam", "w/Adam_1", *list(slots)[:2]]
    assert {n: v.tolist() for n, v in optimizer.slot_variables().items()} == slots
    optimizer.minimize(net())
    assert "v/Adam_1" in optimizer.slot_variables()


# ---- learning rates ----------------------------------------------------------------------------

RATES = {
    "exponential": lambda n: train.exponential_decay(0.1, n, 10, 0.5),
    "staircase": lambda n: train.exponential_decay(0.1, n, 10, 0.5, True),
    "natural": lambda n: train.natural_exp_decay(0.1, n, 10, 0.5),
    "inverse": lambda n: train.inverse_time_decay(0.1, n, 10, 0.5, True),
    "piecewise": lambda n: train.piecewise_constant(n, [5, 10], [0.3, 0.2, 0.1]),
    "polynomial": lambda n: train.polynomial_decay(0.1, n, 10, 0.01, 2.0),
    "cycle": lambda n: train.polynomial_decay(0.1, n, 10, cycle=True),
    "cosine": lambda n: train.cosine_decay(0.1, n, 10, 0.2),
    "restarts": lambda n: train.cosine_decay_restarts(0.1, n, 4, m_mul=0.5),
    "equal restarts": lambda n: train.cosine_decay_restarts(0.1, n, 4, t_mul=1.0),
    "linear_cosine": lambda n: train.linear_cosine_decay(0.1, n, 10),
}


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
def test_a_step_that_is_a_tensor_gives_the_rate_of_one_that_is_a_number(rate):
    for step in (0, 1, 4, 5, 10, 11, 25):
        number, tensor = rate(step), rate(torch.tensor(step))
        assert isinstance(number, float)
        assert tensor.dtype is torch.float32
        assert float(tensor) == pytest.approx(number, rel=1e-5, abs=1e-7)


def test_noise_dies_out():
    noisy = [train.noisy_linear_cosine_decay(0.1, 1, 10) for _ in range(2)]
    assert noisy[0] != noisy[1]
    arguments = {"initial_variance": 0.0}
    assert train.noisy_linear_cosine_decay(0.1, 3, 10, **arguments) == pytest.approx(
        train.linear_cosine_decay(0.1, 3, 10)
    )


def test_a_rate_may_follow_the_global_step():
    def model():
        step = train.get_or_create_global_step()
        return (ts.get_variable("w", initializer=[1.0, 1.0]) ** 2).sum(), step

    net = ts.ScopedModule(model).build()
    step = net["global_step"]
    optimizer = train.GradientDescentOptimizer(
        [("w", net["w"])], lambda: train.polynomial_decay(0.5, step, 2, 0.0)
    )
    for _ in range(3):
        optimizer.minimize(net()[0], global_step=step)
    assert step == 3
    assert net["w"].tolist() == [0.0, 0.0]
    assert float(optimizer.param_groups[0]["lr"]) == 0.0


# ---- the global step ---------------------------------------------------------------------------


def test_the_global_step_is_one_for_the_store():
    def model():
        assert (train.get_global_step() is None) == first
        with tf.variable_scope("a"):
            step = train.get_or_create_global_step()
        assert train.get_or_create_global_step() is step is train.get_global_step()
        train.assert_global_step(step)
        return train.global_step(None, step)

    store, first = ts.VariableStore(), True
    assert store(model) == 0
    first = False
    store["a/global_step"].add_(5)
    assert store(model) == 5
    assert store["a/global_step"].dtype is torch.int64


def test_a_variable_called_global_step_is_one(store):
    assert train.get_global_step() is None
    mine = tf.get_variable("global_step", [], tf.int64, tf.zeros_initializer(), trainable=False)
    assert train.get_global_step() is mine
    with pytest.raises(ValueError, match="already exists"):
        train.create_global_step()


def test_a_global_step_is_created_once_in_each_pass():
    def model(again=False):
        with tf.variable_scope("a"):
            step = train.create_global_step()
        if again:
            train.create_global_step()
        return step

    store = ts.VariableStore()
    assert store(model) is store(model) is store["a/global_step"]
    with pytest.raises(ValueError, match=r"there is one: tf.train.get_global_step\(\)"):
        store(model, True)


@pytest.mark.parametrize(("shape", "dtype"), [([], tf.float32), ([1], tf.int64)])
def test_a_variable_called_global_step_that_cannot_count_is_refused(store, shape, dtype):
    tf.get_variable("global_step", shape, dtype, tf.zeros_initializer(), trainable=False)
    for get in (train.get_global_step, train.get_or_create_global_step):
        with pytest.raises(TypeError, match="The global step has to be"):
            get()


def test_without_a_store_there_is_no_global_step_until_it_is_made():
    assert train.get_global_step() is None
    made = train.create_global_step()
    assert train.get_global_step() is made


# ---- moving averages ---------------------------------------------------------------------------


def test_averages_follow_a_net_and_stand_in_for_it():
    def model(averaged):
        getter = averages.getter if averaged else None
        with tf.variable_scope(tf.get_variable_scope(), custom_getter=getter):
            return tf.get_variable("w", [2]) * 1, tf.get_variable("v", [2], trainable=False) * 1

    averages = train.ExponentialMovingAverage(0.75)
    net = ts.ScopedModule(model).build(False)
    with torch.no_grad():
        net["w"].fill_(1.0)
        averages.apply(net)
        net["w"].fill_(5.0)
        averages.apply(net)
    assert averages.average(net["w"]).tolist() == [2.0, 2.0]
    assert averages.average(net["v"]) is None
    assert net(True)[0].tolist() == [2.0, 2.0]
    assert net(False)[0].tolist() == [5.0, 5.0]
    assert net(True)[1].equal(net["v"])
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    assert compiled(True)[0].tolist() == [2.0, 2.0]


def test_averages_are_saved_and_loaded_by_their_names():
    net = one_vector()
    averages = train.ExponentialMovingAverage(0.5, name="avg")
    averages.apply(net)
    with torch.no_grad():
        net["w"].add_(1.0)
    saved = {name: value.clone() for name, value in averages.state_dict().items()}
    assert list(saved) == ["w/avg"]

    early = train.ExponentialMovingAverage(0.5, name="avg")
    early.load_state_dict(saved)
    early.apply(net.named_parameters())
    averages.apply(net)
    assert_alike(early.state_dict().values(), averages.state_dict().values())
    averages.load_state_dict(saved)
    assert_alike(averages.state_dict().values(), saved.values())
    with pytest.raises(KeyError, match="w/avg"):
        averages.load_state_dict({})


def test_averages_of_what_is_not_trained_are_restored_too():
    averages = train.ExponentialMovingAverage(0.9, name="avg")
    with ts.VariableStore() as store:
        for name in ("w", "frozen", "other"):
            ts.get_variable(name, [1], trainable=name == "w")
        averages.apply([store["frozen"]])
        assert list(averages.variables_to_restore()) == ["w/avg", "frozen/avg", "other"]


def test_the_number_of_updates_makes_averages_move_faster_at_first():
    counted = iter([0, 5])
    averages = train.ExponentialMovingAverage(0.9, num_updates=lambda: next(counted))
    w = nn.Parameter(torch.zeros(1))
    for value in (0.0, 30.0):
        w.data.fill_(value)
        averages.apply([("w", w)])
    assert averages.average(w).item() == pytest.approx(30 * (1 - 6 / 15))


@pytest.mark.parametrize("is_training", [True, False])
def test_averages_made_in_the_pass_that_uses_them_are_refused(is_training: bool):
    def model():
        w = ts.get_variable("w", [2])
        averages = train.ExponentialMovingAverage(0.9)
        return averages.apply([w]) if is_training else averages.average(w)

    with pytest.raises(ts.ScopeError, match=r"would begin anew in each.*assign_moving_average"):
        ts.ScopedModule(model)()


def test_applied_in_a_pass_averages_move_with_it():
    def model():
        w = ts.get_variable("w", initializer=[0.0, 0.0])
        averages.apply()
        return averages.average(w), averages.average_name(w)

    averages = train.ExponentialMovingAverage(0.5)
    net = ts.ScopedModule(model)
    net()
    with torch.no_grad():
        net["w"].fill_(1.0)
    assert net()[0].tolist() == [0.5, 0.5]
    assert net()[0].tolist() == [0.75, 0.75]
    assert net()[1] == "w/ExponentialMovingAverage"


def test_a_moving_average_by_hand_moves_at_once_or_is_collected(store):
    mean = tf.get_variable("mean", [2], initializer=tf.zeros_initializer(), trainable=False)
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    assert train.assign_moving_average(mean, value, 0.75, zero_debias=False) is mean
    assert mean.tolist() == [0.25, 0.5]
    with tf.collect_updates():
        train.assign_moving_average(mean, value, 0.75, zero_debias=False)
    (update,) = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert mean.tolist() == [0.25, 0.5]
    update()
    assert mean.tolist() == [0.4375, 0.875]


def test_zero_debias_makes_an_average_as_if_it_had_begun_at_its_first_value():
    def model(value):
        with tf.variable_scope("bn"):
            mean = tf.get_variable("mean", [1], initializer=tf.zeros_initializer(), trainable=False)
            return train.assign_moving_average(mean, torch.tensor([value]), 0.9).clone()

    store = ts.VariableStore()
    assert [store(model, value).item() for value in (4.0, 4.0, 4.0)] == pytest.approx([4.0] * 3)
    assert list(store) == ["bn/mean", "bn/bn/mean/biased", "bn/bn/mean/local_step"]
    assert store["bn/bn/mean/local_step"] == 3


# ---- bad input ---------------------------------------------------------------------------------

PAIRS = variables()
ADAM = train.AdamOptimizer(PAIRS)
REFUSED = {
    "the rate for the variables": (
        lambda: train.AdamOptimizer(0.001),
        (TypeError, r"AdamOptimizer\(\) takes the variables first, .*AdamOptimizer\(net.named_par"),
    ),
    "no variables": (
        lambda: train.MomentumOptimizer(learning_rate=0.1, momentum=0.9),
        (TypeError, r"MomentumOptimizer\(\) takes the variables first"),
    ),
    "an empty list": (
        lambda: train.AdamOptimizer([]),
        (ValueError, r"AdamOptimizer\(\) was given no variables"),
    ),
    "variables without names": (
        lambda: train.AdamOptimizer([nn.Parameter(torch.ones(2))]),
        (TypeError, r"AdamOptimizer\(\): a variable without a name. Give pairs"),
    ),
    "something else in the list": (
        lambda: train.AdamOptimizer([3]),
        (TypeError, r"AdamOptimizer\(\): 3 is not a variable"),
    ),
    "no rate": (
        lambda: train.GradientDescentOptimizer(PAIRS),
        (TypeError, r"GradientDescentOptimizer\(\) needs a learning_rate"),
    ),
    "an unknown setting": (
        lambda: train.AdamOptimizer(PAIRS, 0.1, amsgrad=True),
        (TypeError, "amsgrad"),
    ),
    "an accumulator of 0": (
        lambda: train.AdagradOptimizer(PAIRS, 0.1, 0.0),
        (ValueError, r"AdagradOptimizer\(\): initial_accumulator_value=0.0 has to be positive"),
    ),
    "a proximal accumulator below 0": (
        lambda: train.ProximalAdagradOptimizer(PAIRS, 0.1, -1.0),
        (ValueError, r"ProximalAdagradOptimizer\(\): initial_accumulator_value=-1.0"),
    ),
    "a positive power": (
        lambda: train.FtrlOptimizer(PAIRS, 0.1, 0.5),
        (ValueError, r"FtrlOptimizer\(\): learning_rate_power=0.5 has to be negative or zero"),
    ),
    "a negative strength": (
        lambda: train.FtrlOptimizer(PAIRS, 0.1, l1_regularization_strength=-0.5),
        (ValueError, r"l1_regularization_strength=-0.5 has to be positive or zero"),
    ),
    "no gradients": (
        lambda: ADAM.apply_gradients([(None, PAIRS[0][1])]),
        (ValueError, "no gradients provided for any variable"),
    ),
    "a loss of nothing": (
        lambda: ADAM.minimize(torch.tensor(1.0)),
        (ValueError, "does not depend on a trainable variable"),
    ),
    "a loss of other variables": (
        lambda: ADAM.minimize(nn.Parameter(torch.ones(())) * 2),
        (ValueError, "no gradients provided for any variable"),
    ),
    "a foreign variable": (
        lambda: ADAM.apply_gradients([(torch.ones(2), nn.Parameter(torch.ones(2)))]),
        (ValueError, r"1 variables are not among those .*add_param_group"),
    ),
    "an optimizer that applies nothing": (
        lambda: train.Optimizer().apply_gradients([]),
        (NotImplementedError, "Optimizer has to define apply_gradients"),
    ),
    "no global step": (
        lambda: train.exponential_decay(0.1, None, 10, 0.5),
        (ValueError, "needs a global_step"),
    ),
    "too few values": (
        lambda: train.piecewise_constant(1, [5, 10], [1.0, 0.5]),
        (ValueError, r"piecewise_constant\(\): 2 boundaries need 3 values, not 2"),
    ),
    "boundaries that are floats, for a step that is not": (
        lambda: train.piecewise_constant(torch.tensor(1), [5.0], [1.0, 0.5]),
        (ValueError, r"piecewise_constant\(\): x is int64, and so have to be the boundaries"),
    ),
    "rates of two dtypes": (
        lambda: train.piecewise_constant(1, [5], [1.0, 2]),
        (ValueError, r"piecewise_constant\(\): values have to be of one dtype: \[1.0, 2\]"),
    ),
    "two steps": (
        lambda: train.piecewise_constant(torch.tensor([1, 2]), [5], [1.0, 0.5]),
        (ValueError, r"piecewise_constant\(\): x has to be one number, not \[2\]"),
    ),
    "averages of what is no variable": (
        lambda: train.ExponentialMovingAverage(0.9).apply([torch.ones(2) * 2]),
        (TypeError, r"apply\(\): a variable without a name"),
    ),
    "a global step that is a float": (
        lambda: train.assert_global_step(torch.tensor(1.0)),
        (TypeError, "has to be an integer tensor"),
    ),
    "a global step of rank 1": (
        lambda: train.assert_global_step(torch.tensor([1])),
        (TypeError, r"has to be a scalar, not \[1\]"),
    ),
}


@pytest.mark.parametrize(("call", "error"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_reported_with_what_to_write_instead(call, error):
    kind, message = error
    before = values(PAIRS)
    with pytest.raises(kind, match=message):
        call()
    assert_alike(values(PAIRS), before, rtol=0, atol=0)
    assert not ADAM.state
