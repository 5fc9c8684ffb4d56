"""Cells and sequences beyond TensorFlow's records: fused LSTMs, users' cells, compiling, errors."""

from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

import torchscope as ts
import torchscope.tf1 as tf
from torchscope.tf1.rnn import _fused

BATCH, STEPS, DEPTH, UNITS = 4, 5, 3, 3
LENGTHS = [STEPS, 0, 3, 1]
DATA = Path(__file__).parent / "data" / "checkpoints" / "tf_facts"
RECORDED = np.load(DATA / "golden.npz")
cells = tf.nn.rnn_cell


class Looping(cells.BasicLSTMCell):
    """Computes what its base does, but nobody can know that."""

    def call(self, inputs, state):
        return super().call(inputs, state)


class LoopingOnes(cells.LSTMCell):
    def __call__(self, inputs, state, scope=None):
        return super().__call__(inputs, state, scope)


# Cells that torch's LSTM can run, each given the class of the cells inside.
FUSED = {
    "one": lambda lstm: lstm(UNITS),
    "other forget bias": lambda lstm: lstm(UNITS, forget_bias=0.25),
    "tf.tanh": lambda lstm: lstm(UNITS, activation=tf.tanh),
    "state in one tensor": lambda lstm: lstm(UNITS, state_is_tuple=False),
    "two layers": lambda lstm: cells.MultiRNNCell([lstm(4), lstm(UNITS)]),
    "two layers in one tensor": lambda lstm: cells.MultiRNNCell(
        [lstm(4, state_is_tuple=False), lstm(UNITS, state_is_tuple=False)], state_is_tuple=False
    ),
    "dropout at 1": lambda lstm: cells.DropoutWrapper(lstm(UNITS), 1.0, 1.0),
    "residual": lambda lstm: cells.ResidualWrapper(lstm(UNITS)),
    "wrapped thrice": lambda lstm: cells.DeviceWrapper(
        cells.ResidualWrapper(cells.DropoutWrapper(lstm(UNITS), output_keep_prob=1.0)), "/gpu:0"
    ),
}
# Cells that loop.
LOOPING = {
    "BasicRNNCell": lambda: cells.BasicRNNCell(UNITS),
    "GRUCell": lambda: cells.GRUCell(UNITS),
    "peepholes": lambda: cells.LSTMCell(UNITS, use_peepholes=True),
    "cell_clip": lambda: cells.LSTMCell(UNITS, cell_clip=0.1),
    "num_proj": lambda: cells.LSTMCell(4, num_proj=UNITS, proj_clip=0.1),
    "relu": lambda: cells.BasicLSTMCell(UNITS, activation="relu"),
    "LayerNormBasicLSTMCell": lambda: tf.contrib.rnn.LayerNormBasicLSTMCell(UNITS),
    "OutputProjectionWrapper": lambda: tf.contrib.rnn.OutputProjectionWrapper(
        cells.BasicLSTMCell(UNITS), 2, activation=torch.tanh
    ),
    "InputProjectionWrapper": lambda: tf.contrib.rnn.InputProjectionWrapper(
        cells.GRUCell(UNITS), 2
    ),
    "residual_fn": lambda: cells.ResidualWrapper(cells.BasicLSTMCell(UNITS), torch.maximum),
    "call overridden": lambda: Looping(UNITS),
    "__call__ overridden": lambda: LoopingOnes(UNITS),
}
CELLS = LOOPING | {
    f"LSTM, {name}": (lambda f=f: f(cells.BasicLSTMCell)) for name, f in FUSED.items()
}


def sequence():
    return torch.randn(BATCH, STEPS, DEPTH, generator=torch.manual_seed(1))


def over(make, lengths=None, **arguments):
    """A net that runs a cell over a sequence."""

    def model(x):
        return tf.nn.dynamic_rnn(make(), x, lengths, dtype=tf.float32, **arguments)

    return ts.ScopedModule(model, seed=0)


def flat(values):
    return tf.nest.flatten(values)


def results(net, x):
    """Outputs, last states and the gradients of something that depends on all of them."""
    x = x.clone().requires_grad_()
    found = flat(net(x))
    loss = sum((y * torch.arange(y.numel()).view_as(y).cos()).sum() for y in found)
    return [*found, *torch.autograd.grad(loss, [x, *net.parameters()])]


def assert_alike(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@contextmanager
def counting_lstm():
    with mock.patch.object(torch, "lstm", wraps=torch.lstm) as counted:
        yield counted


# ---- TensorFlow's numbers -----------------------------------------------------------------------


def test_three_sequences_have_tensorflows_values():
    def model(x):
        with tf.variable_scope("lm"):
            stack = cells.MultiRNNCell(
                [cells.BasicLSTMCell(4), cells.BasicLSTMCell(5, forget_bias=0.0)]
            )
            lm = tf.nn.dynamic_rnn(stack, x, [4, 2], dtype=tf.float32)
        with tf.variable_scope("gru"):
            gru = tf.nn.dynamic_rnn(cells.GRUCell(4), x, dtype=tf.float32)
        with tf.variable_scope("peep"):
            peep = cells.LSTMCell(4, use_peepholes=True, num_proj=3)
            return lm, gru, tf.nn.dynamic_rnn(peep, x, dtype=tf.float32)

    recorded = {name: torch.tensor(value) for name, value in RECORDED.items()}
    x = recorded["rnn/x"]
    net = ts.ScopedModule(model).build(x)
    net.load_state_dict({name: recorded[f"var/{name}"] for name in net})
    names = ["lstm_out", "l0c", "l0h", "l1c", "l1h", "gru_out", "gru_state", "peep_out", "pc", "ph"]
    assert_alike(flat(net(x)), [recorded[f"rnn/{name}"] for name in names])


# ---- torch's LSTM ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [cells.BasicLSTMCell, cells.LSTMCell])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", FUSED)
def test_the_fused_lstm_gives_what_the_loop_gives(name, lengths, kind):
    make, x = FUSED[name], sequence()
    fused = over(lambda: make(lambda *a, **k: kind(*a, name="c", **k)), lengths).build(x)
    loop = over(lambda: make(lambda *a, **k: Looping(*a, name="c", **k)), lengths).build(x)
    with counting_lstm() as calls:
        expected = results(loop, x)
        assert not calls.called
        found = results(fused, x)
        assert calls.called
    assert_alike(found, expected)


@pytest.mark.parametrize("name", LOOPING)
def test_what_torchs_lstm_does_not_compute_is_not_given_to_it(name):
    with counting_lstm() as calls:
        over(LOOPING[name])(sequence())
    assert not calls.called


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_second_derivatives_go_through_the_fused_lstm(lengths):
    def penalty(net):
        x = sequence().requires_grad_()
        y, state = net(x)
        (g,) = torch.autograd.grad((y * y).sum() + state.c.sin().sum(), x, create_graph=True)
        return torch.autograd.grad((g * g).sum(), [x, *net.parameters()])

    nets = [
        over(lambda kind=kind: kind(UNITS, name="c"), lengths).build(sequence())
        for kind in (cells.BasicLSTMCell, Looping)
    ]
    assert_alike(*map(penalty, nets))


def test_cudnn_is_given_parameters_in_one_piece_of_memory():
    apart = _fused.weights(torch.randn(7, 16), torch.randn(16), 3, 1.0)
    together = _fused.in_one_piece(apart)
    assert_alike(together, apart)
    places = [p.storage_offset() for p in together]
    assert places == [0, 48, 112, 128]
    assert len({p.untyped_storage().data_ptr() for p in together}) == 1


def test_apply_is_a_call():
    with ts.VariableStore():
        cell, x = cells.GRUCell(UNITS), X[:, 0]
        state = cell.zero_state(len(x), tf.float32)
        assert torch.equal(cell.apply(x, state)[0], cell(x, state)[0])


def test_a_length_of_zero_gives_the_first_state_back_and_a_longer_one_all_steps():
    c, h = torch.randn(2, 2, UNITS)

    def model(x):
        cell = cells.BasicLSTMCell(UNITS)
        state = cells.LSTMStateTuple(c, h)
        return tf.nn.dynamic_rnn(cell, x, [0, 99], initial_state=state)

    x = sequence()[:2]
    y, state = ts.ScopedModule(model)(x)
    assert state.c[0].equal(c[0])
    assert state.h[0].equal(h[0])
    assert not y[0].any()
    assert state.h[1].equal(y[1, -1])


# ---- compiled, on meta, in other dtypes, under transforms --------------------------------------


@pytest.mark.parametrize("lengths", [None, [2, 0, 1, 2]], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", CELLS)
def test_compiled_it_is_one_graph_with_the_same_gradients(name, lengths):
    torch._dynamo.reset()
    x = sequence()[:, :2]
    net = over(CELLS[name], lengths and torch.tensor(lengths)).build(x)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(net, fullgraph=True, backend=counter)
    for _ in range(2):
        assert_alike(results(compiled, x), results(net, x))
    assert counter.frame_count == 1


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", CELLS)
def test_a_build_on_meta_makes_the_variables_that_a_real_one_makes(name, lengths):
    x = sequence()
    real, meta = (over(CELLS[name], lengths) for _ in range(2))
    real.build(x)
    meta.build(x.to("meta"))
    assert_alike(meta.values(), real.values())
    assert list(meta) == list(real)
    shapes = [y.shape for y in flat(meta.to("meta")(x.to("meta")))]
    assert shapes == [y.shape for y in flat(real(x))]


@pytest.mark.parametrize("name", CELLS)
def test_a_net_in_bfloat16_runs_in_it(name):
    x = sequence().bfloat16()
    net = over(CELLS[name], LENGTHS).build(x.float())
    expected = flat(net(x.float()))
    for y, z in zip(flat(net.to(torch.bfloat16)(x)), expected, strict=True):
        assert y.dtype is torch.bfloat16
        torch.testing.assert_close(y.float(), z, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", CELLS)
def test_autocast_leaves_the_variables_in_float32(name):
    net = over(CELLS[name]).build(sequence())
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = net(sequence().bfloat16())
    outputs.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", CELLS)
def test_vmap_gives_the_gradients_of_each_sequence(name):
    x = sequence()
    net = over(CELLS[name]).build(x)
    parameters = {n: p.detach() for n, p in net.named_parameters()}

    def loss(parameters, x):
        return functional_call(net, parameters, (x[None],))[0].square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    one_by_one = [grad(loss)(parameters, one) for one in x]
    for n, g in together.items():
        torch.testing.assert_close(g, torch.stack([one[n] for one in one_by_one]))


def test_recomputing_a_sequence_finds_its_cell_again():
    def model(x):
        run = ts.bind(lambda x: tf.nn.dynamic_rnn(kept, x, dtype=tf.float32)[0])
        return checkpoint(run, x, use_reentrant=False)

    kept = cells.GRUCell(UNITS)
    net = ts.ScopedModule(model, seed=0).build(sequence())
    net(sequence()).sum().backward()
    plain = over(lambda: kept).build(sequence())
    plain(sequence())[0].sum().backward()
    assert_alike([p.grad for p in net.parameters()], [p.grad for p in plain.parameters()])


# ---- cells that are kept -----------------------------------------------------------------------


def test_a_kept_cell_shares_wherever_it_is_called_and_begins_each_pass_anew():
    def model(x, scope):
        with tf.variable_scope(scope):
            y, _ = kept(x, kept.zero_state(BATCH, tf.float32))
        with tf.variable_scope("other"):
            y, _ = kept(y, y)
        assert tf.nn.rnn_cell.GRUCell(UNITS)(x, y)[0] is not None  # a second one takes a number
        return y

    kept = cells.GRUCell(UNITS, name="g")
    store = ts.VariableStore()
    x = sequence()[:, 0]
    assert store(model, x, "a").equal(store(model, x, "a"))
    assert {name.partition("/gates")[0].partition("/cand")[0] for name in store} == {
        "a/g",
        "gru_cell",
    }
    store(model, x, "b")
    assert "b/g/gates/kernel" in store


def test_sizes_of_states_may_be_tensor_shapes():
    """As of a memory network's cell, whose state has matrices."""

    class Memory(cells.RNNCell):
        state_size = (tf.TensorShape([2, 3]), tf.TensorShape([]), 4)
        output_size = 3

        def call(self, inputs, state):
            memory, steps, last = state
            return memory.sum(1), (memory + inputs[:, None], steps + 1, last)

    shapes = [zeros.shape for zeros in Memory().zero_state(BATCH, tf.float32)]
    assert shapes == [(BATCH, 2, 3), (BATCH,), (BATCH, 4)]
    x = sequence()
    _, (memory, steps, _) = tf.nn.dynamic_rnn(Memory(), x, dtype=tf.float32)
    torch.testing.assert_close(memory, x.sum(1)[:, None].expand(-1, 2, -1))
    assert steps.tolist() == [STEPS] * BATCH


def test_what_a_cell_tells_of_itself_holds_for_the_pass(store):
    cell = cells.BasicLSTMCell(UNITS)
    assert not cell.built
    assert cell.variables == []
    cell(sequence()[:, 0], cell.zero_state(BATCH, tf.float32))
    assert cell.built
    assert [store.name_of(v) for v in cell.variables] == list(store)
    assert cell.trainable_weights == cell.variables
    assert store(lambda: cell.built) is False


def test_cells_are_numbered_where_they_are_made_as_layers_are(store):
    made = [cells.GRUCell(1), cells.GRUCell(1), cells.GRUCell(1, name="mine"), cells.LSTMCell(1)]
    made += [cells.MultiRNNCell(made), cells.ResidualWrapper(made[1])]
    numbered = ["gru_cell_1", "gru_cell_2", "mine", "lstm_cell_1"]
    assert [cell.name for cell in made] == [*numbered, "multi_rnn_cell_1", "residual_wrapper_1"]


def test_cells_around_cells_have_their_variables(store):
    inner, other = cells.GRUCell(UNITS), cells.BasicRNNCell(UNITS)
    stack = cells.MultiRNNCell([cells.DropoutWrapper(inner), other])
    x = sequence()
    tf.nn.dynamic_rnn(inner, x, dtype=tf.float32, scope="before")
    tf.nn.dynamic_rnn(stack, x, dtype=tf.float32)
    # A wrapper lists nothing, as in TensorFlow; the cell inside does.
    assert [store.name_of(v) for v in stack.trainable_variables] == list(store)[4:]
    assert [store.name_of(v) for v in inner.trainable_variables] == list(store)[:4]
    assert len(list(store)) == 6
    mixed = cells.MultiRNNCell([OldStyle(), cells.GRUCell(UNITS)])
    tf.nn.dynamic_rnn(mixed, x, dtype=tf.float32, scope="mixed")
    assert [store.name_of(v) for v in mixed.variables] == list(store)[6:]


def test_frozen_cells_are_not_trainable(store):
    cell = cells.LSTMCell(UNITS, trainable=False, use_peepholes=True)
    cell(sequence()[:, 0], cell.zero_state(BATCH, tf.float32))
    assert len(store) == 5
    assert not cell.trainable_variables


# ---- users' cells ------------------------------------------------------------------------------


class OldStyle:
    """As cells were written before TensorFlow 1.2: nothing of a base class is called."""

    state_size = output_size = UNITS

    def zero_state(self, batch_size, dtype):
        return tf.zeros([batch_size, UNITS], dtype)

    def __call__(self, inputs, state, scope=None):
        with tf.variable_scope(scope or type(self).__name__):
            joined = cells._linear([inputs, state], UNITS, True)
        state = tf.tanh(joined + tf.layers.dense(inputs, UNITS, use_bias=False))
        return state, state


class OldStyleDerived(OldStyle, cells.RNNCell):
    pass


class WithBuild(cells.RNNCell):
    state_size = output_size = UNITS

    def build(self, inputs_shape):
        self.kernel = self.add_variable("kernel", [inputs_shape[1] + UNITS, UNITS])
        self.built = True

    def call(self, inputs, state):
        state = torch.tanh(torch.cat([inputs, state], 1) @ self.kernel)
        return state, state


class Nested(cells.RNNCell):
    """Takes two inputs; its state is a dict with a matrix in it."""

    output_size = UNITS

    @property
    def state_size(self):
        return {"sum": UNITS, "memory": torch.Size([2, UNITS])}

    def call(self, inputs, state):
        left, right = inputs
        total = state["sum"] + left + right * tf.get_variable("scale", [UNITS])
        return total, {"sum": total, "memory": state["memory"] + total[:, None]}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (OldStyle, ["rnn/OldStyle/kernel", "rnn/OldStyle/bias", "rnn/dense/kernel"]),
        (
            OldStyleDerived,
            ["rnn/OldStyleDerived/kernel", "rnn/OldStyleDerived/bias", "rnn/dense/kernel"],
        ),
        (WithBuild, ["rnn/with_build/kernel"]),
    ],
)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "made in the pass"])
def test_the_steps_of_a_users_cell_share_what_the_first_made(kind, names, kept):
    cell = kind()
    net = over(lambda: cell if kept else kind(), LENGTHS)
    first, state = net(sequence())
    assert list(net) == names
    again, _ = net(sequence())
    assert first.equal(again)
    assert not first[1].any()
    assert state[0].equal(first[0, -1])
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    assert_alike([compiled(sequence())[0]], [first])


def test_a_users_cell_may_take_a_place_in_a_stack():
    net = over(lambda: cells.MultiRNNCell([cells.GRUCell(4), WithBuild(), cells.LSTMCell(2)]))
    net(sequence())
    assert [name for name in net if name.endswith("kernel")] == [
        "rnn/multi_rnn_cell/cell_0/gru_cell/gates/kernel",
        "rnn/multi_rnn_cell/cell_0/gru_cell/candidate/kernel",
        "rnn/multi_rnn_cell/cell_1/with_build/kernel",
        "rnn/multi_rnn_cell/cell_2/lstm_cell/kernel",
    ]


def test_inputs_and_states_may_be_structures():
    def model(x):
        return tf.nn.dynamic_rnn(Nested(), (x, 2 * x), LENGTHS, dtype=tf.float32)

    net = ts.ScopedModule(model, seed=0)
    y, state = net(sequence())
    assert y.shape == (BATCH, STEPS, UNITS)
    assert state["memory"].shape == (BATCH, 2, UNITS)
    torch.testing.assert_close(state["memory"][0, 1], y[0].sum(0))
    assert state["sum"][2].equal(y[2, 2])


def test_a_subclass_that_overrides_a_stack_is_asked_for_each_step():
    class Doubling(cells.MultiRNNCell):
        def __call__(self, inputs, state, scope=None):
            return super().__call__(2 * inputs, state, scope)

    x = sequence()
    plain = over(lambda: cells.MultiRNNCell([cells.BasicLSTMCell(UNITS)])).build(x)
    doubled = over(lambda: Doubling([cells.BasicLSTMCell(UNITS)])).build(x)
    values = plain.state_dict().values()  # The names are other ones.
    doubled.load_state_dict(dict(zip(doubled.state_dict(), values, strict=True)))
    assert_alike([doubled(x)[0]], [plain(2 * x)[0]])


# ---- wrappers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "dropped"),
    [({"output_keep_prob": 0.5}, "outputs"), ({"input_keep_prob": 0.5}, "inputs")],
)
def test_dropout_keeps_a_share_and_scales_it(arguments, dropped):
    class Echo(cells.RNNCell):
        state_size = output_size = 50

        def call(self, inputs, state):
            return inputs, state

    net = over(lambda: cells.DropoutWrapper(Echo(), **arguments))
    y, _ = net(torch.ones(40, STEPS, 50))
    assert sorted(y.unique().tolist()) == [0.0, 2.0]
    assert abs(y.mean() - 1) < 0.05
    assert not y[:, 0].equal(y[:, 1])


def test_dropout_of_the_state_spares_what_an_lstm_remembers():
    def model(x):
        cell = cells.DropoutWrapper(cells.BasicLSTMCell(50), state_keep_prob=0.5)
        return cell(x, cell.zero_state(BATCH, tf.float32))

    y, state = ts.ScopedModule(model)(torch.randn(BATCH, DEPTH))
    assert (state.c != 0).all()
    assert 0.3 < (state.h == 0).float().mean() < 0.7
    assert (y != 0).all()


def test_a_visitor_says_what_of_the_state_is_dropped():
    def visitor(state):
        return isinstance(state, cells.LSTMStateTuple)

    def model(x):
        inside = cells.MultiRNNCell([cells.GRUCell(50), cells.BasicLSTMCell(50)])
        cell = cells.DropoutWrapper(
            inside,
            state_keep_prob=0.5,
            dropout_state_filter_visitor=lambda s: (
                s if visitor(s) else (False, cells.LSTMStateTuple(True, False))
            ),
        )
        return cell(x, cell.zero_state(BATCH, tf.float32))[1]

    gru, (c, h) = ts.ScopedModule(model)(torch.randn(BATCH, DEPTH))
    assert (gru != 0).all()
    assert 0.3 < (c == 0).float().mean() < 0.7
    assert (h != 0).all()


def test_variational_dropout_draws_one_mask_for_a_pass():
    class Echo(cells.RNNCell):
        state_size = output_size = 50

        def call(self, inputs, state):
            return inputs, state

    kept = cells.DropoutWrapper(
        *(Echo(), 0.5), variational_recurrent=True, input_size=50, dtype=tf.float32
    )
    net = over(lambda: kept)
    y, again = (net(torch.ones(BATCH, STEPS, 50))[0] for _ in range(2))
    assert sorted(y.unique().tolist()) == [0.0, 2.0]
    assert y.equal(y[:1, :1].expand_as(y))
    assert not y.equal(again)


def test_projections_have_variables_of_their_own():
    net = over(LOOPING["OutputProjectionWrapper"])
    y, _ = net(sequence())
    assert y.shape == (BATCH, STEPS, 2)
    assert [name.removeprefix("rnn/output_projection_wrapper/") for name in net] == [
        *("basic_lstm_cell/kernel", "basic_lstm_cell/bias", "kernel", "bias")
    ]
    net = over(LOOPING["InputProjectionWrapper"])
    net(sequence())
    assert net["rnn/input_projection_wrapper/kernel"].shape == (DEPTH, 2)


def test_layer_norm_lstm_without_norms_is_a_basic_lstm():
    def make(layer_norm):
        return lambda: tf.contrib.rnn.LayerNormBasicLSTMCell(UNITS, layer_norm=layer_norm)

    without, basic = over(make(False)), over(lambda: cells.BasicLSTMCell(UNITS))
    x = sequence()
    values = without.build(x).state_dict().values()
    basic.build(x).load_state_dict(dict(zip(basic.state_dict(), values, strict=True)))
    assert_alike(results(without, x), results(basic, x))
    names = [name.rpartition("cell/")[2] for name in over(make(True)).build(x)]
    norms = [f"{gate}/{v}" for gate in ("input", "transform", "forget", "output", "state")
             for v in ("gamma", "beta")]  # fmt: skip
    assert names == ["kernel", *norms]


# ---- other ways over a sequence ----------------------------------------------------------------


def test_static_rnns_give_the_steps_of_dynamic_ones():
    def both(x):
        steps = tf.unstack(x, axis=1)
        arguments = {"dtype": tf.float32, "sequence_length": LENGTHS}
        pair = cells.GRUCell(UNITS), cells.LSTMCell(UNITS)
        with tf.variable_scope("m", reuse=tf.AUTO_REUSE):
            outputs, fw, bw = tf.nn.static_bidirectional_rnn(*pair, steps, **arguments)
            whole, states = tf.nn.bidirectional_dynamic_rnn(*pair, x, **arguments)
        return [tf.stack(outputs, 1), fw, bw], [tf.concat(whole, 2), *states]

    static, dynamic = ts.ScopedModule(both)(sequence())
    assert_alike(flat(static), flat(dynamic))


def test_layers_of_both_directions_are_stacked():
    def model(x):
        forward, backward = ([cells.GRUCell(UNITS), cells.LSTMCell(2)] for _ in range(2))
        return tf.contrib.rnn.stack_bidirectional_dynamic_rnn(
            forward, backward, x, dtype=tf.float32, sequence_length=LENGTHS
        )

    net = ts.ScopedModule(model)
    y, fw, bw = net(sequence())
    assert y.shape == (BATCH, STEPS, 4)
    assert fw[1].h[0].equal(y[0, -1, :2])
    assert bw[1].h[0].equal(y[0, 0, 2:])
    top = "stack_bidirectional_rnn/cell_1/bidirectional_rnn"
    assert net[f"{top}/bw/lstm_cell/kernel"].shape == (2 * UNITS + 2, 8)


def test_raw_rnn_can_do_what_dynamic_rnn_does():
    def raw(x):
        cell, lengths = cells.LSTMCell(UNITS), torch.tensor(LENGTHS)

        def loop(time, output, state, loop_state):
            finished = lengths <= time
            inputs = x[:, min(int(time), STEPS - 1)]
            first = output is None
            state = cell.zero_state(BATCH, tf.float32) if first else state
            return finished, inputs, state, output, time

        array, state, time = tf.nn.raw_rnn(cell, loop)
        return array.stack().transpose(0, 1), state, time

    x = sequence()
    net = ts.ScopedModule(raw, seed=0)
    y, state, time = net(x)
    expected, last = over(lambda: cells.LSTMCell(UNITS), LENGTHS)(x)
    assert_alike([y, *state], [expected, *last])
    assert int(time) == max(LENGTHS)


def test_the_backward_direction_begins_at_the_end_of_each_sequence():
    def model(x):
        outputs, _ = tf.nn.bidirectional_dynamic_rnn(
            cells.GRUCell(UNITS), cells.GRUCell(UNITS), x, LENGTHS, dtype=tf.float32
        )
        return outputs[1]

    x = sequence()
    net = ts.ScopedModule(model).build(x)
    changed = x.clone()
    changed[2, 3:] = 99.0  # beyond its length
    assert net(x).equal(net(changed))


# ---- _linear and zero_state --------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_sequence_of_no_steps_makes_the_variables_and_keeps_the_first_state(cell):
    def model(x):
        return tf.nn.dynamic_rnn(cell(), x, dtype=tf.float32)

    longer, none = ts.ScopedModule(model, seed=1).build(sequence()), ts.ScopedModule(model, seed=1)
    outputs, state = none(sequence()[:, :0])
    assert list(none) == list(longer)
    assert outputs.shape == (BATCH, 0, longer(sequence())[0].shape[2])
    assert not any(part.any() for part in tf.contrib.framework.nest.flatten(state))


def test_lengths_may_be_counted_in_floats(store):
    cell, x = cells.GRUCell(UNITS), sequence()
    outputs, _ = tf.nn.dynamic_rnn(cell, x, torch.tensor(LENGTHS).float(), dtype=tf.float32)
    expected, _ = tf.nn.dynamic_rnn(cell, x, LENGTHS, dtype=tf.float32)
    assert outputs.equal(expected)


@pytest.mark.parametrize("peepholes", [False, True])
def test_a_loop_without_lengths_over_steps_takes_a_pair_for_an_lstms_state(store, peepholes):
    cell, steps = cells.LSTMCell(UNITS, peepholes), list(sequence().unbind(1))
    _, state = tf.nn.static_rnn(cell, steps, (steps[0], steps[1]))
    assert type(state) is cells.LSTMStateTuple


def test_linear_makes_its_variables_in_the_current_scope(store):
    x = torch.ones(2, 3)
    with tf.variable_scope("a"):
        y = cells._linear([x, x], 4, True, 1.0)
    assert list(store) == ["a/kernel", "a/bias"]
    torch.testing.assert_close(y, torch.cat([x, x], 1) @ store["a/kernel"] + 1)
    cells._linear(x, 4, False, scope="Linear")
    assert list(store)[2:] == ["Linear/kernel"]
    cells._linear(x, 4, True, bias_start=2.0, scope="other")
    assert store["other/bias"].tolist() == [2.0] * 4


def test_zero_states_have_the_structure_of_the_sizes():
    cell = cells.MultiRNNCell([cells.GRUCell(2), cells.LSTMCell(3, num_proj=4)])
    gru, lstm = cell.zero_state(torch.tensor(5), "float64")
    assert isinstance(lstm, cells.LSTMStateTuple)
    assert [part.shape for part in (gru, *lstm)] == [(5, 2), (5, 3), (5, 4)]
    assert lstm.dtype is torch.float64


# ---- bad input ---------------------------------------------------------------------------------

GRU, X = cells.GRUCell(UNITS), torch.ones(2, 5, 3)
REFUSED = {
    "a cell that is none": (
        lambda: tf.nn.dynamic_rnn(torch.nn.ReLU(), X, dtype=tf.float32),
        (TypeError, r"dynamic_rnn\(\): cell has to be an RNNCell; .* lacks output_size"),
    ),
    "no dtype and no state": (
        lambda: tf.nn.dynamic_rnn(GRU, X),
        (ValueError, r"dynamic_rnn\(\): give dtype=, or an initial_state"),
    ),
    "inputs of rank 1": (
        lambda: tf.nn.dynamic_rnn(GRU, X[0, 0], dtype=tf.float32),
        (ValueError, r"inputs have to be \[batch, time, depth\]"),
    ),
    "inputs of rank 2": (
        lambda: tf.nn.dynamic_rnn(GRU, X[0], dtype=tf.float32),
        (ValueError, r"gru_cell: inputs have to be \[batch, depth\], not \[5\]"),
    ),
    "steps of two depths": (
        lambda: tf.nn.static_rnn(GRU, [X[:, 0], X[:, 1, :2]], dtype=tf.float32),
        (ValueError, r"the steps have to be of one shape, not \[\[2, 3\], \[2, 2\]\]"),
    ),
    "too many lengths": (
        lambda: tf.nn.dynamic_rnn(GRU, X, [1, 2, 3], dtype=tf.float32),
        (ValueError, r"sequence_length has to be \[2\], not \[3\]"),
    ),
    "lengths that are floats, backward": (
        lambda: tf.nn.bidirectional_dynamic_rnn(GRU, GRU, X, [1.0, 2.0], dtype=tf.float32),
        (TypeError, "sequence_length is float32"),
    ),
    "a state of another size": (
        lambda: tf.nn.dynamic_rnn(GRU, X, initial_state=torch.zeros(2, 4)),
        (ValueError, r"gru_cell: the state has to be \[2, 3\], not \[2, 4\]"),
    ),
    "a state of another batch": (
        lambda: tf.nn.dynamic_rnn(
            cells.BasicLSTMCell(3), X, initial_state=(torch.zeros(3, 3), torch.zeros(3, 3))
        ),
        (ValueError, r"basic_lstm_cell: the state has to be \[2, 3\], not \[3, 3\]"),
    ),
    "one tensor for a pair": (
        lambda: tf.nn.dynamic_rnn(cells.BasicLSTMCell(3), X, initial_state=torch.zeros(2, 3)),
        (TypeError, r"basic_lstm_cell: its state is a pair \(c, h\)"),
    ),
    "three for a pair": (
        lambda: cells.LSTMCell(3)(X[:, 0], (X[:, 0],) * 3),
        (ValueError, r"lstm_cell: its state is a pair \(c, h\)"),
    ),
    "integers": (
        lambda: tf.nn.dynamic_rnn(GRU, X.int(), dtype=tf.float32),
        (ValueError, "gru_cell: inputs have to be floats, not int32"),
    ),
    "a dtype that the inputs do not have": (
        lambda: tf.nn.dynamic_rnn(cells.LSTMCell(UNITS, dtype=tf.float64), X, dtype=tf.float32),
        (TypeError, "lstm_cell.*inputs and kernel has float32 and float64"),
    ),
    "a pair as the state of a loop": (
        lambda: tf.nn.dynamic_rnn(cells.LSTMCell(UNITS), X, initial_state=(X[:, 0], X[:, 0])),
        (TypeError, "One structure is a tuple and the other a LSTMStateTuple"),
    ),
    "a size below zero": (
        lambda: cells.GRUCell(-1).zero_state(2, tf.float32),
        (ValueError, r"zero_state\(\): state_size=-1 has to be zero or more"),
    ),
    "a batch below zero": (
        lambda: GRU.zero_state(-1, tf.float32),
        (ValueError, r"zero_state\(\): batch_size=-1 has to be zero or more"),
    ),
    "a state of another dtype": (
        lambda: tf.nn.dynamic_rnn(GRU, X, dtype=tf.float64),
        (TypeError, "inputs and state has float32 and float64; TensorFlow does not promote"),
    ),
    "a pair for one tensor": (
        lambda: cells.BasicLSTMCell(3, state_is_tuple=False)(X[:, 0], (X[:, 0], X[:, 0])),
        (ValueError, r"the state has to be \[2, 6\]"),
    ),
    "an input of another depth": (
        lambda: [GRU(X[:, 0], X[:, 0]), GRU(X[:, 0, :2], X[:, 0])],
        (ValueError, "gru_cell/gates/kernel"),
    ),
    "no step given": (
        lambda: tf.nn.static_rnn(GRU, [], dtype=tf.float32),
        (ValueError, r"static_rnn\(\): inputs is empty"),
    ),
    "a tensor for a list": (
        lambda: tf.nn.static_rnn(GRU, X, dtype=tf.float32),
        (TypeError, r"static_rnn\(\): inputs has to be a list of steps"),
    ),
    "a tensor for a list, both directions": (
        lambda: tf.nn.static_bidirectional_rnn(GRU, GRU, X, dtype=tf.float32),
        (TypeError, r"static_bidirectional_rnn\(\): inputs has to be a list"),
    ),
    "a stack that is no list": (
        lambda: cells.MultiRNNCell(GRU),
        (TypeError, r"MultiRNNCell\(\): cells has to be a list"),
    ),
    "a stack of nothing": (
        lambda: cells.MultiRNNCell([]),
        (ValueError, r"MultiRNNCell\(\): give at least one cell"),
    ),
    "a stack of layers": (
        lambda: cells.MultiRNNCell([tf.layers.dense]),
        (TypeError, r"each of cells has to be an RNNCell"),
    ),
    "states side by side that are pairs": (
        lambda: cells.MultiRNNCell([cells.LSTMCell(3)], state_is_tuple=False),
        (ValueError, "make the cell with state_is_tuple=False, too"),
    ),
    "a state of too few layers": (
        lambda: cells.MultiRNNCell([GRU, cells.GRUCell(3)])(X[:, 0], (X[:, 0],)),
        (ValueError, "multi_rnn_cell: the state has to be a tuple of 2"),
    ),
    "a share above 1": (
        lambda: cells.DropoutWrapper(GRU, output_keep_prob=1.5),
        (ValueError, r"output_keep_prob=1.5 is not between 0 and 1"),
    ),
    "masks without a dtype": (
        lambda: cells.DropoutWrapper(GRU, 0.5, variational_recurrent=True, input_size=3),
        (ValueError, "variational_recurrent=True needs dtype="),
    ),
    "masks without a size": (
        lambda: cells.DropoutWrapper(GRU, 0.5, variational_recurrent=True, dtype=tf.float32),
        (ValueError, "variational_recurrent=True needs input_size="),
    ),
    "a residual of another size": (
        lambda: cells.ResidualWrapper(cells.GRUCell(4))(X[:, 0], torch.zeros(2, 4)),
        (ValueError, r"the inputs are \[2, 3\] and the outputs \[2, 4\]"),
    ),
    "a new state of another structure": (
        lambda: tf.nn.dynamic_rnn(
            Nested(), (X, X), initial_state={"sum": X[:, 0], "memory": X[:, 0], "more": X[:, 0]}
        ),
        (ValueError, "different parts"),
    ),
    "an unknown argument": (
        lambda: cells.GRUCell(3, units=4),
        (TypeError, "units"),
    ),
    "an unknown activation": (
        lambda: cells.GRUCell(3, activation="swosh"),
        (ValueError, "Unknown activation 'swosh'"),
    ),
    "cells for one direction only": (
        lambda: tf.contrib.rnn.stack_bidirectional_dynamic_rnn([GRU], [], X, dtype=tf.float32),
        (ValueError, "give the same number of cells"),
    ),
    "nothing for _linear": (
        lambda: cells._linear([], 3, True),
        (ValueError, r"_linear\(\): args has to be a tensor or a list"),
    ),
    "_linear of rank 3": (
        lambda: cells._linear(X, 3, True),
        (ValueError, r"_linear\(\): args have to be \[batch, n\], not \[\[2, 5, 3\]\]"),
    ),
    "a cell without call": (
        lambda: cells.RNNCell()(X[:, 0], X[:, 0]),
        (NotImplementedError, "RNNCell has to define call"),
    ),
    "a loop that is no function": (
        lambda: tf.nn.raw_rnn(GRU, 3),
        (TypeError, r"raw_rnn\(\): loop_fn has to be a function"),
    ),
}


@pytest.mark.parametrize(("call", "error"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_reported_with_the_name_of_the_argument(store, call, error):
    kind, message = error
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("state", [None, 1, (torch.ones(2, UNITS),)], ids=["none", "int", "one"])
def test_a_cell_says_that_its_state_or_its_inputs_do_not_fit(store, state):
    flat = {"state_is_tuple": False}
    for cell in (
        cells.GRUCell(UNITS),
        cells.BasicLSTMCell(UNITS),
        cells.LSTMCell(UNITS, **flat),
        cells.MultiRNNCell([cells.GRUCell(UNITS), cells.BasicRNNCell(UNITS)]),
        cells.MultiRNNCell([cells.GRUCell(UNITS)], **flat),
        tf.contrib.rnn.LayerNormBasicLSTMCell(UNITS),
    ):
        with pytest.raises((ValueError, TypeError), match=r"state (has to|is a pair)"):
            cell(torch.ones(2, 3), state)
        with pytest.raises(ValueError, match=r"inputs have to be tensors|state has to"):
            cell(None, state)
