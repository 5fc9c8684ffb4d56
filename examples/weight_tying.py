"""A small language model with one embedding table for input and output.

The table gives each word its vector, and the same table gives the logits of the next word: tied
weights. Here it is one variable with one name, asked for twice. For comparison, the same model is
also an ``nn.Module`` whose two layers are tied by hand, and this script shows what happens to
both when they are copied, saved, loaded and moved. Run it with one of

    python examples/weight_tying.py
    python examples/weight_tying.py --steps=2000 --device=cuda

The text is the manual that ``help()`` shows, which comes with Python.
"""

import argparse
import copy
import io
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor, nn

import torchscope as ts

try:
    from safetensors.torch import load_file, save_file
except ImportError:
    raise SystemExit(
        "This example saves models with safetensors, which is not installed:\n"
        "    python -m pip install safetensors"
    ) from None

WORDS = 1000  # the most frequent ones; number 0 stands for all others
WIDTH = 64  # of a word's vector
LENGTH = 24  # words in a piece of text
DILATIONS = [1, 2, 4]  # of the layers; so a word is guessed from the 15 before it

# ---- the model, as a function ------------------------------------------------------------------


def embed(words: Tensor) -> Tensor:
    """The vectors of words: ``[n, length]`` becomes ``[n, length, WIDTH]``."""
    with ts.variable_scope("embedding"):
        table = ts.get_variable(
            "table", [WORDS, WIDTH], initializer=ts.random_normal_initializer(stddev=0.05)
        )
    return F.embedding(words, table)


def layer(x: Tensor, dilation: int) -> Tensor:
    """A causal layer: a position sees itself, ``dilation`` before it and twice that before it."""
    kernel = ts.get_variable(
        "kernel", [2 * WIDTH, WIDTH, 3], initializer=torch.nn.init.xavier_uniform_
    )
    bias = ts.get_variable("bias", [2 * WIDTH], initializer=ts.zeros_initializer())
    return look_back(x, kernel, bias, dilation)


def look_back(x: Tensor, kernel: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """A causal convolution and a gate, added to the input."""
    past = F.pad(x.transpose(1, 2), (2 * dilation, 0))
    return x + F.glu(F.conv1d(past, kernel, bias, dilation=dilation), dim=1).transpose(1, 2)


def guess(x: Tensor) -> Tensor:
    """The logits of words: ``[n, length, WIDTH]`` becomes ``[n, length, WORDS]``."""
    with ts.variable_scope("embedding", reuse=True):  # The existing table, or an error.
        table = ts.get_variable("table", [WORDS, WIDTH])
    return F.layer_norm(x, [WIDTH]) @ table.T


def language_model(words: Tensor) -> Tensor:
    """The logits of each next word."""
    x = embed(words)
    for number, dilation in enumerate(DILATIONS):
        with ts.variable_scope(f"layer{number}"):
            x = layer(x, dilation)
    return guess(x)


def make_scoped(seed: int | None = None) -> ts.ScopedModule[[Tensor], Tensor]:
    """The function as an ``nn.Module``; built, so that all its variables exist."""
    return ts.ScopedModule(language_model, seed=seed).build(torch.zeros(1, 2, dtype=torch.int64))


# ---- the same model, tied by hand --------------------------------------------------------------


class TiedByHand(nn.Module):
    """The same model in the usual way: two layers, to which one tensor is assigned."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, 2 * WIDTH, 3, dilation=d) for d in DILATIONS)
        self.output = nn.Linear(WIDTH, WORDS, bias=False)
        self.output.weight = self.embedding.weight  # Tied, until something unties it.

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words)
        for conv, dilation in zip(self.layers, DILATIONS, strict=True):
            x = look_back(x, conv.weight, conv.bias, dilation)
        return self.output(F.layer_norm(x, [WIDTH]))


@torch.no_grad()
def tied_by_hand_like(net: ts.ScopedModule[[Tensor], Tensor]) -> TiedByHand:
    """The model tied by hand, with the values of the other one."""
    hand = TiedByHand().to(net["embedding/table"].device)
    hand.embedding.weight.copy_(net["embedding/table"])
    for number, conv in enumerate(hand.layers):
        conv.weight.copy_(net[f"layer{number}/kernel"])
        conv.bias.copy_(net[f"layer{number}/bias"])
    return hand


# ---- the text ----------------------------------------------------------------------------------


class Text(NamedTuple):
    """The words by number; and the text as numbers, to train with and to test with."""

    vocabulary: list[str]
    training: Tensor
    held_out: Tensor


def load_text() -> Text:
    """Python's manual; the end of every chapter is held out. Full stops and commas are words."""
    from pydoc_data.topics import topics

    training: list[str] = []
    held_out: list[str] = []
    for chapter in sorted(topics):
        words = re.findall(r"[a-z]+(?:'[a-z]+)?|[.,;:]", topics[chapter].lower())
        training += words[: len(words) * 9 // 10]
        held_out += words[len(words) * 9 // 10 :]
    frequent = Counter(training).most_common(WORDS - 1)
    vocabulary = ["(another)", *(word for word, _ in frequent)]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    return Text(
        vocabulary,
        torch.tensor([numbers.get(word, 0) for word in training]),
        torch.tensor([numbers.get(word, 0) for word in held_out]),
    )


def draw_pieces(text: Tensor, count: int, random: torch.Generator, device: str) -> Tensor:
    """Pieces of text from anywhere in it, ``[count, LENGTH + 1]``."""
    starts = torch.randint(len(text) - LENGTH, (count, 1), generator=random)
    return text[starts + torch.arange(LENGTH + 1)].to(device)


# ---- training ----------------------------------------------------------------------------------


def loss_of(model: nn.Module, pieces: Tensor) -> Tensor:
    """The cross entropy of each next word."""
    return F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())


def train(
    model: nn.Module,
    text: Tensor,
    steps: int,
    seed: int,
    device: str,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Train a model on pieces of the text; the same pieces for the same seed."""
    optimizer = torch.optim.Adam(model.named_parameters(), lr=0.004)
    random = torch.Generator().manual_seed(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.004 * (1 - step / steps)
        loss = loss_of(model, draw_pieces(text, 32, random, device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % max(1, steps // 10) == 0:
            report(f"step {step + 1:5} of {steps}   loss {loss.item():.3f}")


@torch.no_grad()
def perplexity(model: nn.Module, text: Tensor, device: str) -> float:
    """The perplexity: the number of equally likely words of the same uncertainty."""
    pieces = draw_pieces(text, 200, torch.Generator().manual_seed(0), device)
    return loss_of(model, pieces).exp().item()


def perplexity_of_counting(text: Text) -> float:
    """The same for predicting each word by its frequency, whatever came before."""
    counts = torch.bincount(text.training, minlength=WORDS).float().clamp(min=0.5)
    return (-(counts / counts.sum()).log()[text.held_out].mean()).exp().item()


@torch.no_grad()
def go_on_from(model: nn.Module, start: str, text: Text, words: int, seed: int, device: str) -> str:
    """Generate text: each next word is drawn from the model's prediction."""
    random = torch.Generator().manual_seed(seed)
    written = [text.vocabulary.index(word) for word in start.split()]
    for _ in range(words):
        fits = model(torch.tensor([written[-LENGTH:]], device=device))[0, -1].cpu()
        fits[0] = -torch.inf  # "(another)" is not a word to write.
        written.append(int(torch.multinomial((fits / 0.7).softmax(0), 1, generator=random)))
    return re.sub(r" ([.,;:])", r"\1", " ".join(text.vocabulary[word] for word in written))


# ---- what comes untied, and when ---------------------------------------------------------------

Made = Callable[[], nn.Module]


def copied(model: nn.Module, make: Made, path: Path) -> nn.Module:
    """A copy stays tied: deepcopy copies each tensor once, however often it meets it."""
    return copy.deepcopy(model)


def loaded(model: nn.Module, make: Made, path: Path) -> nn.Module:
    """Loading copies values into the existing tensors, which stay tied."""
    other = make().to(next(model.parameters()).device)
    other.load_state_dict(through_a_file(model.state_dict()))
    return other


def assigned(model: nn.Module, make: Made, path: Path) -> nn.Module:
    """Assigning makes a Parameter for each name; the optimizer then steps both."""
    other = make()
    other.load_state_dict(through_a_file(model.state_dict()), assign=True)
    return other


def made_on_meta(model: nn.Module, make: Made, path: Path) -> nn.Module:
    """As big models are made; each name gets memory of its own, and the two drift apart."""
    with torch.device("meta"):
        other = make()
    other.to_empty(device=next(model.parameters()).device)
    other.load_state_dict(through_a_file(model.state_dict()))
    return other


def safe(model: nn.Module, make: Made, path: Path) -> nn.Module:
    """A file of safetensors holds each tensor under one name, and refuses two."""
    save_file(model.state_dict(), path)
    other = make().to(next(model.parameters()).device)
    other.load_state_dict(load_file(path))
    return other


def safe_clones(model: nn.Module, make: Made, path: Path) -> nn.Module:
    """The usual workaround: the file has two copies, and no record that they were one."""
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, path)
    other = make()
    other.load_state_dict(load_file(path), assign=True)
    return other.to(next(model.parameters()).device)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict as another process would read it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


WAYS: dict[str, Callable[[nn.Module, Made, Path], nn.Module]] = {
    "copy.deepcopy": copied,
    "torch.save, load_state_dict": loaded,
    "load_state_dict(assign=True)": assigned,
    "on meta, to_empty, load_state_dict": made_on_meta,
    "safetensors": safe,
    "safetensors of clones, assign=True": safe_clones,
}


class Outcome(NamedTuple):
    """What became of a model: how many tables it has, and its error after 10 steps."""

    tables: int
    astray: float
    refused: str = ""


def tables_of(model: nn.Module) -> list[Tensor]:
    """The parameters that hold a vector for each word: one if tied, else two."""
    return [parameter for parameter in model.parameters() if parameter.shape == (WORDS, WIDTH)]


def try_out(
    way: Callable[[nn.Module, Made, Path], nn.Module],
    model: nn.Module,
    make: Made,
    text: Text,
    device: str,
    path: Path,
) -> Outcome:
    """Train the result of ``way`` for 10 steps, and compare with training the model itself."""
    try:
        other = way(model, make, path)
    except RuntimeError as error:
        return Outcome(0, 0, str(error).strip().partition("\n")[0])
    expected = copy.deepcopy(model)
    for each in (expected, other):
        train(each, text.training, 10, 1, device)
    tables = tables_of(other)
    (right,) = tables_of(expected)
    return Outcome(len(tables), max((table - right).abs().max().item() for table in tables))


def compare(
    models: dict[str, tuple[nn.Module, Made]], text: Text, device: str, folder: Path
) -> Iterator[str]:
    """The lines of a table: for each way of making a model, both models."""
    yield " " * 38 + "".join(f"{name:<24}" for name in models).rstrip()
    yield " " * 38 + "".join(f"{'tables':<10}{'astray by':<14}" for _ in models).rstrip()
    reasons: list[str] = []
    for label, way in WAYS.items():
        line = f"{label:<38}"
        for name, (model, make) in models.items():
            outcome = try_out(way, model, make, text, device, folder / "model.safetensors")
            if outcome.refused:
                reasons.append(f"{label} refuses the model {name}: {outcome.refused}")
            astray = f"{outcome.astray:.4f}" if outcome.astray else "0"
            line += f"{'refused':<24}" if outcome.refused else f"{outcome.tables:<10}{astray:<14}"
        yield line.rstrip()
    yield from ("", *reasons)


# ---- the command -------------------------------------------------------------------------------


def print_variables(model: nn.Module) -> None:
    """A line for each kind of entry in the state dict, and the total."""
    state = model.state_dict()
    for name, tensor in state.items():
        print(f"    {name:<24}{list(tensor.shape)!s:<18}{tensor.numel():>9,}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    entries = sum(tensor.numel() for tensor in state.values())
    print(f"    {parameters:,} numbers to train, {entries:,} in the state dict\n")


def run(steps: int, seed: int, device: str, folder: Path) -> None:
    """Train, write, save; then compare with the model tied by hand."""
    began = time.perf_counter()
    text = load_text()
    print(f"{len(text.training):,} words to train with, {len(text.held_out):,} others to test with")

    net = make_scoped(seed).to(device)
    print("\nThe function, one name for the table:")
    print_variables(net)
    counting = perplexity_of_counting(text)
    print(f"perplexity of counting words: {counting:.0f}")
    print(f"perplexity before training: {perplexity(net, text.held_out, device):.0f}")
    train(net, text.training, steps, seed, device, lambda line: print(line, flush=True))
    print(f"perplexity after training: {perplexity(net, text.held_out, device):.0f}\n")
    print(f"It writes: {go_on_from(net, 'the value of the', text, 40, seed, device)} ...\n")

    path = folder / "model.safetensors"
    save_file(net.state_dict(), path)
    again = make_scoped().to(device)
    again.load_state_dict(load_file(path))
    piece = draw_pieces(text.held_out, 1, torch.Generator().manual_seed(seed), device)
    same = torch.equal(net(piece), again(piece))
    print(f"saved with safetensors, {path.stat().st_size:,} bytes; loaded, outputs equal: {same}\n")

    print("The same as an nn.Module tied by hand, two names for the table:")
    hand = tied_by_hand_like(net)
    print_variables(hand)
    apart = (net(piece) - hand(piece)).abs().max().item()
    print(f"largest difference between the outputs of both: {apart:.1e}\n")

    print(
        "What becomes of the table. Tied, there is one among the parameters, and 10 steps more\n"
        "lead where they lead the model itself; untied, there are two, and they lead astray.\n"
    )
    models = {"tied by hand": (hand, TiedByHand), "torchscope": (net, make_scoped)}
    for line in compare(models, text, device, folder):
        print(line, flush=True)
    print(f"\n{time.perf_counter() - began:.0f} seconds")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    # Too little work for several threads; with one the numbers do not depend on the cores.
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True  # Deterministic on a GPU, too.
    with tempfile.TemporaryDirectory() as folder:
        run(args.steps, args.seed, args.device, Path(folder))


if __name__ == "__main__":
    main()
