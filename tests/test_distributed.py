"""Many ranks: check_same_variables, DDP, fully_shard, tensor parallel, distributed checkpoints.

docs/distributed.md has a table of all this, each cell with a test of this file.
"""

import ast
import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from torch import nn
from torch.distributed.checkpoint import state_dict as dcp_state
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from two_ranks import Outcome, Rank, on_two_ranks

import torchscope as ts

ROOT = Path(__file__).parents[1]
WORDS, WIDTH = 11, 8
IDS = torch.randint(WORDS, (4, 6), generator=torch.Generator().manual_seed(1))


# ---- the model: one block function, and one table of embeddings as input and as output -----------


def dense(x: torch.Tensor, units: int, name: str) -> torch.Tensor:
    with ts.variable_scope(name):
        w = ts.get_variable("w", [x.shape[-1], units])
        return x @ w + ts.get_variable("b", [units], initializer=ts.zeros_initializer())


def block(x: torch.Tensor) -> torch.Tensor:
    query, key, value = dense(x, 3 * WIDTH, "qkv").chunk(3, -1)
    x = x + dense(F.scaled_dot_product_attention(query, key, value, is_causal=True), WIDTH, "out")
    return x + dense(torch.relu(dense(x, 4 * WIDTH, "up")), WIDTH, "down")


def checkpointed_block(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("layer"):
        return checkpoint(ts.bind(block), x, use_reentrant=False)


def language_model(ids: torch.Tensor, body: Callable[..., Any] = block) -> torch.Tensor:
    table = ts.get_variable("embedding", [WORDS, WIDTH])
    x = table[ids]
    for number in range(2):
        x = ts.get_module(f"h{number}", lambda: ts.ScopedModule(body))(x)
    return x @ table.T


def unbuilt(seed: int = 0, body: Callable[..., Any] = block) -> ts.ScopedModule[..., Any]:
    return ts.ScopedModule(functools.partial(language_model, body=body), seed=seed)


def build(seed: int = 0, device: str = "cpu", body: Callable[..., Any] = block) -> nn.Module:
    """In double precision: then two ways of adding up the same are as good as equal."""
    return unbuilt(seed, body).to(device, torch.float64).build(IDS.to(device))


def sharded(net: Any, rank: Rank, **how: Any) -> Any:
    """``fully_shard`` on each block, then on the net, as its documentation says."""
    for inner in net.children():
        fully_shard(inner, mesh=rank.mesh, **how)
    return fully_shard(net, mesh=rank.mesh, **how)


def wrapped_in(way: str, net: nn.Module, rank: Rank) -> Any:
    return DistributedDataParallel(net) if way == "DistributedDataParallel" else sharded(net, rank)


def loss_of(net: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(net(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def train(net: nn.Module, ids: torch.Tensor, steps: int = 3) -> torch.optim.Optimizer:
    # Not Adam, which makes as much of a gradient that is zero but for rounding as of any other.
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(net, ids).backward()
        optimizer.step()
    return optimizer


def whole(net: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict, on the CPU, with sharded tensors gathered."""
    values = {
        key: value.full_tensor() if isinstance(value, DTensor) else value
        for key, value in net.state_dict().items()
    }
    return {key: value.detach().cpu().clone() for key, value in values.items()}


def assert_same(net: nn.Module, other: nn.Module) -> None:
    """The same names in the same order, and the same values but for rounding."""
    left, right = whole(net), whole(other)
    assert list(left) == list(right)
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


def trained_alone(device: str, **how: Any) -> nn.Module:
    """What one process makes of the whole batch."""
    net = build(device=device, **how)
    before = whole(net)
    train(net, IDS.to(device))
    assert not torch.equal(whole(net)["embedding"], before["embedding"])
    return net


# ---- docs/distributed.md -------------------------------------------------------------------------

PAGE = ROOT / "docs" / "distributed.md"


def cells() -> dict[str, str]:
    """The cells of the page's table that say something, each by its row and column."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        f"{row[0]}, {column}": cell
        for row in rows[2:]
        for column, cell in zip(rows[0][1:], row[1:], strict=True)
        if cell != "—"
    }


@pytest.mark.parametrize("cell", cells().values(), ids=cells())
def test_behind_each_cell_of_the_table_is_a_test(cell: str):
    ((file, name),) = re.findall(r"\]\(\.\./tests/(\w+\.py)#(\w+)\)", cell)
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


# ---- check_same_variables ------------------------------------------------------------------------


def product(x: torch.Tensor, names: str, size: int = 3) -> torch.Tensor:
    for name in names:
        x = x * ts.get_variable(name, [size])
    return x


def made(names: str, **how: Any) -> ts.ScopedModule[..., Any]:
    return ts.ScopedModule(product, seed=0).build(torch.ones(1), names, **how)


def frozen() -> nn.Module:
    net = made("ab")
    net["b"].requires_grad_(False)
    return net


def with_a_buffer(x: torch.Tensor) -> torch.Tensor:
    return x * ts.get_variable("a", [3]) * ts.get_buffer("b", [3])


DIFFERENT: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], str, str]] = {
    "another order": (
        lambda: made("ab"),
        lambda: made("ba"),
        "b",
        r"rank 1 has 'b' \(shape \(3,\), float32, trained, made at \S+test_distributed.py:\d+\), "
        r"where rank 0 has 'a'",
    ),
    "one less": (lambda: made("ab"), lambda: made("a"), "b", r"rank 1 lacks 'b' \(shape \(3,\)"),
    "one more": (lambda: made("a"), lambda: made("ab"), "b", r"has 'b' .*, which rank 0 lacks"),
    "another shape": (
        lambda: made("ab"),
        lambda: made("ab", size=4),
        "a",
        r"rank 1 has 'a' \(shape \(4,\), .*where it is shape \(3,\), float32, trained on rank 0",
    ),
    "another dtype": (
        lambda: made("ab"),
        lambda: made("ab").half(),
        "a",
        r"'a' \(shape \(3,\), float16, .*where it is shape \(3,\), float32",
    ),
    "frozen": (
        lambda: made("ab"),
        frozen,
        "b",
        r"'b' \(shape \(3,\), float32, frozen, .*where it is shape \(3,\), float32, trained",
    ),
    "a buffer": (
        lambda: made("ab"),
        lambda: ts.ScopedModule(with_a_buffer, seed=0).build(torch.ones(3)),
        "b",
        r"'b' \(shape \(3,\), float32, a buffer, .*where it is shape \(3,\), float32, trained",
    ),
    "in a block": (
        lambda: nn.Sequential(nn.Linear(2, 2), made("ab")),
        lambda: nn.Sequential(nn.Linear(2, 2), made("ba")),
        "1.b",
        r"rank 1 has '1.b' .*made at \S+test_distributed.py:\d+\), where rank 0 has '1.a'",
    ),
}


@on_two_ranks(*DIFFERENT)
def test_ranks_with_different_variables_are_told_so_on_each_rank(rank: Rank, case: str):
    first, second, name, message = DIFFERENT[case]
    net = (second if rank.number else first)()
    with pytest.raises(ts.VariableMismatchError, match=message) as caught:
        ts.distributed.check_same_variables(net)
    assert caught.value.name == name
    assert "net.build(*example)" in str(caught.value)


@on_two_ranks()
def test_ranks_with_the_same_variables_pass(rank: Rank):
    for net in (
        build(),
        DistributedDataParallel(build()),
        sharded(build(), rank),
        nn.Sequential(made("ab")),
    ):
        ts.distributed.check_same_variables(net)


@on_two_ranks()
def test_the_sharing_report_leaves_a_sharded_net_as_it_was(rank: Rank):
    net = sharded(build(), rank)
    before = net(IDS.to(rank.device)).detach()
    assert ts.sharing(net, IDS.to(rank.device)).unused == []
    assert torch.equal(net(IDS.to(rank.device)), before)


@on_two_ranks("both", "one")
def test_a_net_that_was_not_built_is_an_error_on_each_rank(rank: Rank, case: str):
    net = ts.ScopedModule(product, seed=0)
    where = "ranks 0, 1"
    if case == "one":
        where = "rank 1"
        if rank.number == 0:
            net.build(torch.ones(1), "ab")
    with pytest.raises(ts.NotBuiltError, match=rf"not built on {where}\. Build .*net\.build\("):
        ts.distributed.check_same_variables(net)


@on_two_ranks()
def test_seeds_that_differ_between_ranks_are_warned_of(rank: Rank):
    net = ts.ScopedModule(product, seed=rank.number).build(torch.ones(1), "ab")
    with pytest.warns(ts.ScopeWarning, match=r"on rank 1 than on rank 0.*seed=0") as caught:
        ts.distributed.check_same_variables(net)
    assert [Path(warning.filename).name for warning in caught] == ["test_distributed.py"]


@on_two_ranks()
def test_only_the_ranks_of_the_group_that_is_given_are_compared(rank: Rank):
    alone = [dist.new_group([number]) for number in range(2)]
    net = made("a" if rank.number else "b")
    ts.distributed.check_same_variables(net, alone[rank.number])
    ts.distributed.check_same_variables(net, process_group=alone[1 - rank.number])


def test_without_a_process_group_the_error_says_how_to_make_one():
    with pytest.raises(ts.ScopeError, match=r"not initialized.*torchrun.*init_process_group\(\)"):
        ts.distributed.check_same_variables(made("a"))


# ---- DDP -----------------------------------------------------------------------------------------


@on_two_ranks()
def test_ddp_trains_as_one_process_does_on_the_whole_batch(rank: Rank):
    net = build(device=rank.device)
    train(DistributedDataParallel(net), rank.part(IDS))
    assert_same(net, trained_alone(rank.device))


@on_two_ranks()
def test_ddp_takes_the_values_of_rank_0(rank: Rank):
    net = build(seed=rank.number, device=rank.device)
    DistributedDataParallel(net)
    assert_same(net, build(seed=0))


@on_two_ranks()
def test_ddp_without_the_check_pairs_by_position_and_swaps(rank: Rank):
    """What check_same_variables is for; should torch ever tell, the check can go."""
    net = made("ab" if rank.number == 0 else "ba").to(rank.device)
    values = {name: value.detach().clone() for name, value in net.items()}
    DistributedDataParallel(net)
    expected = ("a", "b") if rank.number == 0 else ("b", "a")
    assert torch.equal(net["a"], values[expected[0]])
    assert torch.equal(net["b"], values[expected[1]])


WRAPPERS: dict[str, Callable[[nn.Module, Rank], Any]] = {
    "DistributedDataParallel": lambda net, rank: DistributedDataParallel(net),
    "fully_shard": lambda net, rank: fully_shard(net, mesh=rank.mesh),
    "distribute_module": lambda net, rank: distribute_module(net, rank.mesh),
}


@on_two_ranks(*WRAPPERS)
def test_a_net_that_was_not_built_is_refused(rank: Rank, case: str):
    alone = ts.ScopedModule(language_model)
    inside = nn.Sequential(nn.Linear(2, 2), ts.ScopedModule(language_model)).to(rank.device)
    for net in (alone, inside):
        with pytest.raises(ts.NotBuiltError, match=rf"{case} is given .*net\.build\(\*example\)"):
            WRAPPERS[case](net, rank)


def late(x: torch.Tensor, more: bool = False) -> torch.Tensor:
    x = x * ts.get_variable("first", [3])
    return x * ts.get_variable("late", [3]) if more else x


@on_two_ranks("DistributedDataParallel", "fully_shard")
def test_a_variable_made_after_wrapping_is_warned_of(rank: Rank, case: str):
    x = torch.ones(3, device=rank.device)
    wrapped = WRAPPERS[case](ts.ScopedModule(late).to(rank.device).build(x), rank)
    with pytest.warns(ts.ScopeWarning, match=r"'late' .*DDP or FSDP made before does not hold it"):
        wrapped(x, more=True)


@on_two_ranks()
def test_a_compiled_net_trains_in_ddp(rank: Rank):
    net = build(device=rank.device)
    train(DistributedDataParallel(torch.compile(net, backend="aot_eager")), rank.part(IDS))
    assert_same(net, trained_alone(rank.device))


@on_two_ranks()
def test_a_bound_function_is_checkpointed_in_ddp(rank: Rank):
    net = build(device=rank.device, body=checkpointed_block)
    train(DistributedDataParallel(net), rank.part(IDS))
    assert_same(net, trained_alone(rank.device, body=checkpointed_block))


@on_two_ranks()
def test_ddp_gives_each_rank_the_buffers_of_rank_0(rank: Rank):
    net = averaging(rank.device)
    wrapped = DistributedDataParallel(net)
    wrapped(torch.full((2, 3), 4.0 * rank.number, device=rank.device))
    assert net["mean"].tolist() == [2.0 * rank.number] * 3  # Each of its own part of the batch, ...
    wrapped(torch.zeros(2, 3, device=rank.device))
    assert net["mean"].tolist() == [0.0] * 3  # ... until the next forward begins with those of 0.


def averaged(x: torch.Tensor) -> torch.Tensor:
    mean = ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
    ts.assign(mean, (mean + x.mean(0)) / 2)
    return (x - mean) @ ts.get_variable("w", [3, 3])


def averaging(device: str) -> ts.ScopedModule[..., torch.Tensor]:
    return ts.ScopedModule(averaged, seed=0).to(device).build(torch.ones(2, 3, device=device))


# ---- fully_shard ---------------------------------------------------------------------------------


@on_two_ranks()
def test_fully_sharded_it_trains_as_one_process_does_on_the_whole_batch(rank: Rank):
    net = sharded(build(device=rank.device), rank)
    train(net, rank.part(IDS))
    assert_same(net, trained_alone(rank.device))


@on_two_ranks()
def test_fully_sharded_each_rank_keeps_half_of_the_bytes(rank: Rank):
    net = build(device=rank.device)
    before = sum(parameter.nbytes for parameter in net.parameters())
    sharded(net, rank)
    kept = sum(parameter.to_local().nbytes for parameter in net.parameters())
    odd_row = (WIDTH * 8) / 2  # of the table, which has an odd number of rows
    assert abs(kept - before / 2) <= odd_row


@on_two_ranks()
def test_a_store_that_is_called_is_fully_sharded(rank: Rank):
    alone, store = ts.VariableStore(seed=0), ts.VariableStore(seed=0)
    results = []
    for each in (alone, store):
        each.to(rank.device)
        each(product, torch.ones(3, device=rank.device), "ab")
        if each is store:
            fully_shard(store, mesh=rank.mesh)
        each(product, torch.ones(3, device=rank.device), "ab").sum().backward()
        results.append({name: value.grad for name, value in each.items()})
    assert torch.equal(results[0]["a"], results[1]["a"].full_tensor())
    with (
        pytest.raises(
            ts.ScopeOrderError, match=r"only while it is called. Call it: store\(fn, x\)"
        ),
        store,
    ):
        raise AssertionError("entered")


@on_two_ranks()
def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(rank: Rank):
    seen = set()

    def body(x: torch.Tensor) -> torch.Tensor:
        seen.add((x.dtype, ts.get_variable("w", [WIDTH, WIDTH]).dtype))
        return torch.tanh(x @ ts.get_variable_scope().get_variable("v", [WIDTH, WIDTH]))

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    net = unbuilt(body=body).to(rank.device).build(IDS.to(rank.device))
    before = whole(net)
    seen.clear()
    train(sharded(net, rank, mp_policy=policy), rank.part(IDS))
    assert seen == {(torch.bfloat16, torch.bfloat16)}
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    alone = unbuilt(body=body).to(rank.device).build(IDS.to(rank.device))
    train(alone, IDS.to(rank.device))
    moved = max((value - before[key]).abs().max() for key, value in whole(alone).items())
    apart = max((value - whole(net)[key]).abs().max() for key, value in whole(alone).items())
    assert 0 < apart < moved


@on_two_ranks("ts.bind in the block", "around the block")
def test_activation_checkpointing_works_with_fully_shard(rank: Rank, case: str):
    def around(ids: torch.Tensor) -> torch.Tensor:
        table = ts.get_variable("embedding", [WORDS, WIDTH])
        x = table[ids]
        for number in range(2):
            inner = ts.get_module(f"h{number}", lambda: ts.ScopedModule(block))
            x = checkpoint(inner, x, use_reentrant=False)
        return x @ table.T

    nets = []
    for _ in range(2):
        inside = unbuilt(body=checkpointed_block)
        net = inside if case == "ts.bind in the block" else ts.ScopedModule(around, seed=0)
        nets.append(net.to(rank.device, torch.float64).build(IDS.to(rank.device)))
    train(sharded(nets[0], rank), rank.part(IDS))
    train(nets[1], IDS.to(rank.device))
    assert_same(*nets)


@on_two_ranks()
def test_blocks_are_compiled_one_by_one_and_fully_sharded(rank: Rank):
    net = build(device=rank.device)
    for inner in net.children():
        inner.compile(backend="aot_eager", fullgraph=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute")  # Dynamo asks for it.
        train(sharded(net, rank), rank.part(IDS))
    assert_same(net, trained_alone(rank.device))


@on_two_ranks()
def test_built_on_meta_and_sharded_it_gets_the_values_of_an_unsharded_build(rank: Rank):
    net = unbuilt(seed=7).to("meta", torch.float64).build(IDS.to("meta"))
    sharded(net, rank).to_empty(device=rank.device)
    net.reset_parameters()
    assert all(isinstance(parameter, DTensor) for parameter in net.parameters())
    assert_same(net, build(seed=7))
    train(net, rank.part(IDS))
    alone = build(seed=7, device=rank.device)
    train(alone, IDS.to(rank.device))
    assert_same(net, alone)


@on_two_ranks("after training", "after an evaluation")
def test_reset_parameters_reaches_what_is_sharded(rank: Rank, case: str):
    net = sharded(build(device=rank.device), rank)
    train(net, rank.part(IDS))
    if case == "after an evaluation":  # It leaves the net's own variables gathered.
        with torch.no_grad():
            net(IDS.to(rank.device))
    net.reset_parameters()
    assert_same(net, build())
    with torch.no_grad():
        assert torch.equal(net(IDS.to(rank.device)), build(device=rank.device)(IDS.to(rank.device)))


def regular(x: torch.Tensor) -> torch.Tensor:
    def bounded(w: torch.Tensor) -> torch.Tensor:
        return w / torch.clamp(w.norm(), min=1.0)

    w = ts.get_variable("w", [4, 4], regularizer=ts.l2_regularizer(0.1), constraint=bounded)
    return x @ w


@on_two_ranks()
def test_regularizers_and_constraints_see_the_whole_variable(rank: Rank):
    x = torch.randn(4, 4, dtype=torch.float64).to(rank.device)
    nets = [ts.ScopedModule(regular, seed=0).to(rank.device, torch.float64) for _ in range(2)]
    alone, net = (net.build(x) for net in nets)
    fully_shard(net, mesh=rank.mesh)
    for each, batch in ((alone, x), (net, rank.part(x))):
        optimizer = torch.optim.SGD(each.named_parameters(), lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            (each(batch).square().mean() + sum(each.regularization_losses())).backward()
            optimizer.step()
            each.apply_constraints()
    assert_same(net, alone)
    assert float(alone["w"].norm().detach()) <= 1 + 1e-9


@on_two_ranks()
def test_assign_takes_the_whole_value_of_what_is_sharded(rank: Rank):
    net = fully_shard(made("ab").to(rank.device), mesh=rank.mesh)
    ts.assign(net["a"], [1.0, 2.0, 3.0])
    ts.assign_add(net["a"], torch.ones(3, device=rank.device))
    assert net["a"].full_tensor().tolist() == [2.0, 3.0, 4.0]


# A variable belongs to one block, which gathers it while it is called, or to the net around them,
# which gathers it for all of them.


@on_two_ranks("of the net, passed to its blocks", "of a block that is called twice")
def test_what_blocks_share_is_trained_as_one_process_trains_it(rank: Rank, case: str):
    def with_table(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return x + dense(x, WIDTH, "up") @ table.T @ table

    def passed(ids: torch.Tensor) -> torch.Tensor:
        table = ts.get_variable("embedding", [WORDS, WIDTH])
        x = table[ids]
        for number in range(2):
            x = ts.get_module(f"h{number}", lambda: ts.ScopedModule(with_table))(x, table)
        return x @ table.T

    def twice(ids: torch.Tensor) -> torch.Tensor:
        table = ts.get_variable("embedding", [WORDS, WIDTH])
        inner = ts.get_module("h", lambda: ts.ScopedModule(block))
        return inner(inner(table[ids])) @ table.T

    fn = passed if case == "of the net, passed to its blocks" else twice
    nets = [ts.ScopedModule(fn, seed=0).to(rank.device, torch.float64) for _ in range(2)]
    net, alone = (net.build(IDS.to(rank.device)) for net in nets)
    train(sharded(net, rank), rank.part(IDS))
    train(alone, IDS.to(rank.device))
    assert_same(net, alone)


@on_two_ranks()
def test_a_block_that_computes_with_the_variable_of_another_is_torchs_error(rank: Rank):
    def owner(x: torch.Tensor) -> torch.Tensor:
        return dense(x, 3, "dense")

    def two(x: torch.Tensor) -> torch.Tensor:
        first = ts.get_module("first", lambda: ts.ScopedModule(owner))
        second = ts.get_module("second", lambda: ts.ScopedModule(lambda x, w: x @ w))
        return second(first(x), first["dense/w"])

    x = torch.ones(2, 3, device=rank.device)
    net = sharded(ts.ScopedModule(two, seed=0).to(rank.device).build(x), rank)
    with pytest.raises(RuntimeError, match=r"mixed torch\.Tensor and DTensor"):
        net(x)


class Layer(nn.Module):
    """A module that keeps its weights in a store that it shares with others."""

    def __init__(self, store: ts.VariableStore, name: str) -> None:
        super().__init__()
        self.store, self.name = store, name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.store(dense, x, 3, self.name)


@on_two_ranks()
def test_one_store_in_several_modules_is_sharded_as_a_whole_and_not_by_module(rank: Rank):
    def two() -> nn.Module:
        store = ts.VariableStore(seed=0).to(rank.device)
        net = nn.Sequential(Layer(store, "a"), Layer(store, "b"))
        net(torch.ones(1, 3, device=rank.device))
        return net

    x = torch.ones(2, 3, device=rank.device)
    net, split = two(), two()
    fully_shard(net[0].store, mesh=rank.mesh)
    assert torch.equal(fully_shard(net, mesh=rank.mesh)(x), two()(x))
    fully_shard(split[0], mesh=rank.mesh)
    with pytest.raises(TypeError, match="value was None"):  # torch's
        fully_shard(split[1], mesh=rank.mesh)


@on_two_ranks()
def test_buffers_stay_whole_and_each_ranks_own_when_fully_sharded(rank: Rank):
    net = fully_shard(averaging(rank.device), mesh=rank.mesh)
    net(torch.full((2, 3), 4.0 * rank.number, device=rank.device))
    assert not isinstance(net["mean"], DTensor)
    assert net["mean"].tolist() == [2.0 * rank.number] * 3
    dist.all_reduce(net["mean"])  # How to average them: this, and a division by the ranks.
    assert (net["mean"] / 2).tolist() == [1.0] * 3


@on_two_ranks()
def test_frozen_variables_are_sharded_and_stay_as_they_are(rank: Rank):
    net = build(device=rank.device)
    for _, variable in net.named_variables("h0"):
        variable.requires_grad_(False)
    before = whole(net)
    train(sharded(net, rank), rank.part(IDS))
    after = whole(net)
    assert torch.equal(after["h0.up/w"], before["h0.up/w"])
    assert not torch.equal(after["h1.up/w"], before["h1.up/w"])


def scaled(x: torch.Tensor) -> torch.Tensor:
    scale = ts.get_variable("scale", [], initializer=ts.ones_initializer())
    return scale * (x @ ts.get_variable("w", [3, 3]))


@on_two_ranks()
def test_a_scalar_cannot_be_sharded_but_left_whole(rank: Rank):
    net = ts.ScopedModule(scaled, seed=0).to(rank.device)
    net.build(torch.ones(2, 3, device=rank.device))
    with pytest.raises(ValueError, match="support scalar parameters"):
        fully_shard(net, mesh=rank.mesh)  # torch's
    net = ts.ScopedModule(scaled, seed=0).to(rank.device)
    net.build(torch.ones(2, 3, device=rank.device))
    fully_shard(net, mesh=rank.mesh, ignored_params={net["scale"]})
    net(torch.ones(2, 3, device=rank.device)).sum().backward()
    assert not isinstance(net["scale"].grad, DTensor)
    assert isinstance(net["w"].grad, DTensor)


@on_two_ranks()
def test_groups_of_an_optimizer_go_by_scope_when_sharded(rank: Rank):
    net = sharded(build(device=rank.device), rank)
    before = whole(net)
    slow = list(net.named_variables("h0"))
    optimizer = torch.optim.SGD([{"params": slow, "lr": 0.0}], lr=1.0)
    optimizer.add_param_group({"params": list(net.named_variables("h1"))})
    loss_of(net, rank.part(IDS)).backward()
    optimizer.step()
    assert [name for name, _ in slow][:2] == ["h0/qkv/w", "h0/qkv/b"]
    assert [net.name_of(variable) for _, variable in slow] == [name for name, _ in slow]
    assert torch.equal(whole(net)["h0.up/w"], before["h0.up/w"])
    assert not torch.equal(whole(net)["h1.up/w"], before["h1.up/w"])


# ---- whole state dicts ---------------------------------------------------------------------------

WHOLE = dcp_state.StateDictOptions(full_state_dict=True)


@on_two_ranks("DistributedDataParallel", "fully_shard")
def test_a_whole_state_dict_has_the_names_and_values_of_an_unsharded_net(rank: Rank, case: str):
    net = build(device=rank.device)
    wrapped = wrapped_in(case, net, rank)
    state_dict = dcp_state.get_model_state_dict(wrapped, options=WHOLE)
    assert list(state_dict) == list(build().state_dict())
    torch.testing.assert_close({k: v.cpu() for k, v in state_dict.items()}, build().state_dict())


@on_two_ranks()
def test_a_whole_state_dict_on_rank_0_is_loaded_into_what_is_sharded(rank: Rank):
    net, other = sharded(build(device=rank.device), rank), build(seed=3, device=rank.device)
    options = dcp_state.StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    state_dict = {} if rank.number else other.state_dict()
    dcp_state.set_model_state_dict(net, state_dict, options=options)
    assert_same(net, other)


@on_two_ranks()
def test_a_whole_state_dict_is_loaded_before_the_build(rank: Rank):
    net = unbuilt(seed=1).to(rank.device)
    dcp_state.set_model_state_dict(net, build().float().state_dict())
    net.build(IDS.to(rank.device))
    assert_same(sharded(net, rank), build().float())


# ---- distributed checkpoints ---------------------------------------------------------------------


@on_two_ranks("DistributedDataParallel", "fully_shard")
def test_training_goes_on_from_a_distributed_checkpoint(rank: Rank, case: str):
    def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = build(seed, rank.device)
        wrapped = (
            DistributedDataParallel(net)
            if case == "DistributedDataParallel"
            else sharded(net, rank)
        )
        return wrapped, train(wrapped, rank.part(IDS), steps=seed)

    net, optimizer = start(seed=3)
    model, state = dcp_state.get_state_dict(net, optimizer)
    assert list(model) == list(build().state_dict())
    assert {"h0.up/w", "embedding"} <= set(state["state"])
    dcp.save({"net": model, "optimizer": state}, checkpoint_id=rank.folder / f"training {case}")

    other, resumed = start(seed=1)
    model, state = dcp_state.get_state_dict(other, resumed)
    loaded = {"net": model, "optimizer": state}
    dcp.load(loaded, checkpoint_id=rank.folder / f"training {case}")
    dcp_state.set_state_dict(
        other, resumed, model_state_dict=loaded["net"], optim_state_dict=loaded["optimizer"]
    )
    for each, its in ((net, optimizer), (other, resumed)):
        its.zero_grad()
        loss_of(each, rank.part(IDS)).backward()
        its.step()
    assert_same(other, net)


SAVED = "saved by two"


def read(net: nn.Module, folder: Path) -> nn.Module:
    """Load a distributed checkpoint before the build: the checkpoint says what it holds."""
    found = dcp.FileSystemReader(folder).read_metadata().state_dict_metadata
    values = {key: torch.empty(it.size, dtype=it.properties.dtype) for key, it in found.items()}
    dcp.load(values, checkpoint_id=folder)
    net.load_state_dict(values)
    return net


@on_two_ranks()
def test_a_checkpoint_that_two_ranks_saved_is_loaded_on_two(rank: Rank):
    net = sharded(build(seed=4, device=rank.device), rank)
    dcp.save(net.state_dict(), checkpoint_id=rank.folder / SAVED)
    built = sharded(build(seed=5, device=rank.device), rank)
    dcp.load(built.state_dict(), checkpoint_id=rank.folder / SAVED)
    assert_same(built, net)
    on_meta = unbuilt().to("meta", torch.float64).build(IDS.to("meta"))
    sharded(on_meta, rank).to_empty(device=rank.device)
    dcp.load(on_meta.state_dict(), checkpoint_id=rank.folder / SAVED)
    assert_same(on_meta, net)
    later = read(unbuilt().double().to(rank.device), rank.folder / SAVED)
    assert_same(sharded(later.build(IDS.to(rank.device)), rank), net)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("when", ["before the build", "after the build", "as a state dict"])
def test_a_checkpoint_that_two_ranks_saved_is_loaded_by_one_process(
    ranks: Outcome, tmp_path: Path, when: str
):
    saved = ranks.folder / SAVED
    net = unbuilt().double()
    if when == "before the build":
        read(net, saved).build(IDS)
    elif when == "after the build":
        dcp.load(net.build(IDS).state_dict(), checkpoint_id=saved)
    else:
        dcp_to_torch_save(saved, tmp_path / "net.pt")
        net.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
        net.build(IDS)
    assert_same(net, build(seed=4))


test_a_checkpoint_that_two_ranks_saved_is_loaded_by_one_process.needs = (
    test_a_checkpoint_that_two_ranks_saved_is_loaded_on_two.__name__
)


@on_two_ranks()
def test_loading_into_a_net_that_was_not_built_does_not_silently_do_nothing(rank: Rank):
    dcp.save({"net": build(device=rank.device)}, checkpoint_id=rank.folder / "stateful")
    net = unbuilt()
    dcp.load({"net": net}, checkpoint_id=rank.folder / "stateful")
    with pytest.raises(ts.StateDictError, match="lacks names that the first pass made: '"):
        net.build(IDS)


@on_two_ranks()
def test_a_checkpoint_is_loaded_by_name_whatever_the_order(rank: Rank):
    net, other = made("ab").to(rank.device), made("ba").to(rank.device)
    net.reset_parameters()
    dcp.save(net.state_dict(), checkpoint_id=rank.folder / "order")
    ts.assign(other["a"], torch.zeros(3))
    dcp.load(other.state_dict(), checkpoint_id=rank.folder / "order")
    assert torch.equal(other["a"], net["a"])
    assert torch.equal(other["b"], net["b"])


@on_two_ranks()
def test_a_variable_that_a_checkpoint_lacks_is_torchs_error_by_name(rank: Rank):
    dcp.save(made("ab").state_dict(), checkpoint_id=rank.folder / "less")
    with pytest.raises(dcp.CheckpointException, match="Missing key in checkpoint state_dict: c"):
        dcp.load(made("abc").state_dict(), checkpoint_id=rank.folder / "less")


@on_two_ranks()
def test_of_a_buffer_the_checkpoint_has_the_value_of_rank_0(rank: Rank):
    net = fully_shard(averaging(rank.device), mesh=rank.mesh)
    net(torch.full((2, 3), 4.0 * (rank.number + 1), device=rank.device))
    assert net["mean"].tolist() == [2.0 * (rank.number + 1)] * 3
    dcp.save(net.state_dict(), checkpoint_id=rank.folder / "buffer")
    dcp.load(net.state_dict(), checkpoint_id=rank.folder / "buffer")
    assert net["mean"].tolist() == [2.0] * 3


# ---- tensor parallel -----------------------------------------------------------------------------

PLAN = {"up/w": Shard(1), "up/b": Shard(0), "down/w": Shard(0), "down/b": Replicate()}


def perceptron(x: torch.Tensor) -> torch.Tensor:
    return dense(torch.relu(dense(x, 16, "up")), 4, "down")


def by_variable(net: Any, rank: Rank) -> Callable[[torch.Tensor], torch.Tensor]:
    for name, placement in PLAN.items():
        net[name] = nn.Parameter(distribute_tensor(net[name], rank.mesh, [placement]))
    return lambda x: net(DTensor.from_local(x, rank.mesh, [Replicate()])).full_tensor()


def by_module(net: Any, rank: Rank) -> Callable[[torch.Tensor], torch.Tensor]:
    def split(path: str, module: nn.Module, mesh: Any) -> None:
        for key, parameter in list(module.named_parameters(recurse=False)):
            whole = distribute_tensor(parameter, mesh, [PLAN[key]])
            module.register_parameter(key, nn.Parameter(whole))

    return distribute_module(
        net,
        rank.mesh,
        split,
        lambda module, inputs, mesh: DTensor.from_local(inputs[0], mesh, [Replicate()]),
        lambda module, output, mesh: output.full_tensor(),
    )


WAYS = {"distribute_tensor": by_variable, "distribute_module": by_module}


def halves(device: str) -> tuple[Any, Any, torch.Tensor]:
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    nets = [ts.ScopedModule(perceptron, seed=0).to(device, torch.float64) for _ in range(2)]
    alone, net = (net.build(x.to(device)) for net in nets)
    return alone, net, x.to(device)


@on_two_ranks(*WAYS)
def test_with_variables_distributed_by_name_the_results_are_equal(rank: Rank, case: str):
    alone, net, x = halves(rank.device)
    call = WAYS[case](net, rank)
    assert net["up/w"].to_local().shape == (4, 8)
    for each, run in ((alone, alone), (net, call)):
        optimizer = torch.optim.SGD(each.named_parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            run(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(call(x), alone(x))
    assert_same(net, alone)


@on_two_ranks()
def test_reset_parameters_and_assign_reach_what_is_distributed(rank: Rank):
    alone, net, _ = halves(rank.device)
    by_variable(net, rank)
    ts.assign(net["down/w"], torch.ones(16, 4))
    assert net["down/w"].full_tensor().sum() == 64
    net.reset_parameters()
    assert net["down/w"].placements == (Shard(0),)
    assert_same(net, alone)


@on_two_ranks()
def test_a_checkpoint_of_distributed_variables_is_loaded_whole(rank: Rank):
    alone, net, _ = halves(rank.device)
    by_variable(net, rank)
    dcp.save(net.state_dict(), checkpoint_id=rank.folder / "tensor parallel")
    ts.assign(alone["up/w"], torch.zeros(4, 16))
    dcp.load(alone.state_dict(), checkpoint_id=rank.folder / "tensor parallel")
    assert_same(net, alone)


@on_two_ranks()
def test_distributed_variables_are_checkpointed_and_compiled(rank: Rank):
    alone, net, x = halves(rank.device)
    by_variable(net, rank)
    whole_x = DTensor.from_local(x, rank.mesh, [Replicate()])
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(whole_x).full_tensor(), alone(x))
    checkpoint(net, whole_x, use_reentrant=False).full_tensor().sum().backward()
    alone(x).sum().backward()
    torch.testing.assert_close(net["up/w"].grad.full_tensor(), alone["up/w"].grad)


@on_two_ranks()
def test_a_variable_made_after_distributing_is_warned_of_and_torch_refuses_it(rank: Rank):
    net = ts.ScopedModule(late).to(rank.device).build(torch.ones(3, device=rank.device))
    distribute_module(net, rank.mesh)
    x = distribute_tensor(torch.ones(3), rank.mesh)
    with (
        pytest.warns(ts.ScopeWarning, match="'late' is made after the net was built"),
        pytest.raises(RuntimeError, match=r"mixed torch\.Tensor and DTensor"),
    ):
        net(x, more=True)


def there_and_back(x: torch.Tensor) -> torch.Tensor:
    """One variable, used twice, and a buffer."""
    w = ts.get_variable("w", [4, 6])
    scale = ts.get_buffer("scale", [4], initializer=ts.ones_initializer())
    return torch.tanh(x @ w) @ ts.get_variable_scope().get_variable("v", [6, 4]) * scale + (
        torch.tanh(x @ w) @ w.T
    )


@on_two_ranks()
def test_what_is_used_twice_is_distributed_once(rank: Rank):
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x = x.to(rank.device)
    nets = [ts.ScopedModule(there_and_back, seed=0).to(x.device, x.dtype) for _ in range(2)]
    alone, net = (net.build(x) for net in nets)
    net["w"] = nn.Parameter(distribute_tensor(net["w"], rank.mesh, [Shard(1)]))
    net["v"] = nn.Parameter(distribute_tensor(net["v"], rank.mesh, [Shard(0)]))
    net["scale"] = distribute_tensor(net["scale"], rank.mesh, [Replicate()])
    result = net(DTensor.from_local(x, rank.mesh, [Replicate()])).full_tensor()
    torch.testing.assert_close(result, alone(x))
    result.square().sum().backward()
    alone(x).square().sum().backward()
    torch.testing.assert_close(net["w"].grad.full_tensor(), alone["w"].grad)
    assert list(net.state_dict()) == list(alone.state_dict())
    assert not isinstance(net["scale"], nn.Parameter)


@on_two_ranks()
def test_built_on_meta_and_distributed_it_gets_the_values_of_a_plain_build(rank: Rank):
    alone, _, x = halves(rank.device)
    net = ts.ScopedModule(perceptron, seed=0).to("meta", torch.float64).build(x.to("meta"))
    by_variable(net, rank)
    net.to_empty(device=rank.device)
    net.reset_parameters()
    assert net["up/w"].to_local().shape == (4, 8)
    assert_same(net, alone)


@on_two_ranks()
def test_ddp_wraps_what_was_built_on_meta(rank: Rank):
    net = unbuilt(seed=7).to("meta", torch.float64).build(IDS.to("meta"))
    net.to_empty(device=rank.device)
    net.reset_parameters()
    train(DistributedDataParallel(net), rank.part(IDS))
    alone = build(seed=7, device=rank.device)
    train(alone, IDS.to(rank.device))
    assert_same(net, alone)


@on_two_ranks()
def test_mixed_precision_by_autocast_in_ddp_keeps_float32(rank: Rank):
    net = unbuilt().to(rank.device).build(IDS.to(rank.device))
    wrapped = DistributedDataParallel(net)
    with torch.autocast(rank.device.partition(":")[0], torch.bfloat16):
        result = wrapped(rank.part(IDS))
        loss_of(wrapped, rank.part(IDS)).backward()
    assert result.dtype == torch.bfloat16
    assert {(value.dtype, value.grad.dtype) for value in net.parameters()} == {
        (torch.float32, torch.float32)
    }
    assert_same(net, unbuilt().build(IDS))
