"""GPT-2 as a function, which loads OpenAI's checkpoints by name and continues a text.

Its scopes are those of the original program for TensorFlow 1 (https://github.com/openai/gpt-2), so
its variables have the names and layouts of the checkpoints. Run it with one of

    python examples/gpt2.py                                        a tiny one, of random weights
    python examples/gpt2.py models/124M --prompt="In a hole in the ground there lived"
    python examples/gpt2.py models/124M --tokens=100 --temperature=0.8 --top-k=40 --seed=1

``models/124M`` is the directory that the original's ``download_model.py 124M`` fetches:
``checkpoint``, ``model.ckpt.*``, ``hparams.json``, ``encoder.json`` and ``vocab.bpe``. Without the
last two, tokens are written as numbers.
"""

import argparse
import functools
import itertools
import json
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor

import torchscope as ts
from torchscope import checkpoint

TINY = Path(__file__).parents[1] / "tests" / "data" / "checkpoints" / "gpt2_tiny"

# ---- the model ---------------------------------------------------------------------------------


class HParams(NamedTuple):
    """The sizes of a model, by the names that ``hparams.json`` has for them."""

    n_vocab: int
    n_ctx: int  # tokens that it can look back on
    n_embd: int
    n_head: int
    n_layer: int


def norm(x: Tensor, scope: str) -> Tensor:
    """Normalize the features, then scale and shift them."""
    with ts.variable_scope(scope):
        n_state = x.shape[-1]
        g = ts.get_variable("g", [n_state], initializer=ts.constant_initializer(1.0))
        b = ts.get_variable("b", [n_state], initializer=ts.constant_initializer(0.0))
        return F.layer_norm(x, [n_state], g, b, eps=1e-5)


def conv1d(x: Tensor, scope: str, nf: int) -> Tensor:
    """A dense layer: ``[..., nx]`` becomes ``[..., nf]``. TensorFlow's kernel is one wide."""
    with ts.variable_scope(scope):
        w = ts.get_variable(
            "w", [1, x.shape[-1], nf], initializer=ts.random_normal_initializer(stddev=0.02)
        )
        b = ts.get_variable("b", [nf], initializer=ts.constant_initializer(0.0))
        return x @ w[0] + b


def split_heads(x: Tensor, n_head: int) -> Tensor:
    """``[batch, sequence, n_state]`` becomes ``[batch, heads, sequence, features]``."""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


def attn(
    x: Tensor, scope: str, n_state: int, *, past: Tensor | None, hparams: HParams
) -> tuple[Tensor, Tensor]:
    """Causal attention: each token attends to itself and those before it, ``past`` ones included.

    Returns the result, and the keys and values, ``[batch, 2, heads, sequence, features]``.
    """
    with ts.variable_scope(scope):
        c = conv1d(x, "c_attn", 3 * n_state)
        q, k, v = (split_heads(part, hparams.n_head) for part in c.chunk(3, dim=-1))
        present = torch.stack([k, v], dim=1)
        if past is not None:
            k, v = torch.cat([past, present], dim=-2).unbind(dim=1)
        nd, ns = q.shape[-2], k.shape[-2]
        seen = torch.ones(nd, ns, dtype=torch.bool, device=x.device).tril(ns - nd)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return conv1d(a.transpose(1, 2).flatten(2), "c_proj", n_state), present


def mlp(x: Tensor, scope: str, n_state: int) -> Tensor:
    """Two dense layers for each token by itself."""
    with ts.variable_scope(scope):
        h = F.gelu(conv1d(x, "c_fc", n_state), approximate="tanh")
        return conv1d(h, "c_proj", x.shape[-1])


def block(x: Tensor, scope: str, *, past: Tensor | None, hparams: HParams) -> tuple[Tensor, Tensor]:
    """One layer, and its keys and values."""
    with ts.variable_scope(scope):
        nx = x.shape[-1]
        a, present = attn(norm(x, "ln_1"), "attn", nx, past=past, hparams=hparams)
        x = x + a
        x = x + mlp(norm(x, "ln_2"), "mlp", 4 * nx)
        return x, present


def model(
    hparams: HParams,
    X: Tensor,  # noqa: N803  - the original's name
    past: Tensor | None = None,
    scope: str = "model",
    reuse: Any = False,
) -> dict[str, Tensor]:
    """The logits of the next token.

    Args:
        hparams: the sizes.
        X: tokens, ``[batch, sequence]``, integers.
        past: keys and values of the tokens before, ``[batch, layers, 2, heads, sequence,
            features]``: the ``"present"`` of earlier calls, joined along ``sequence``.
        scope: where the variables are.
        reuse: as for `ts.variable_scope`.

    Returns:
        ``"logits"``, ``[batch, sequence, n_vocab]``, and ``"present"``, shaped as ``past``.
    """
    with ts.variable_scope(scope, reuse=reuse):
        wpe = ts.get_variable(
            "wpe",
            [hparams.n_ctx, hparams.n_embd],
            initializer=ts.random_normal_initializer(stddev=0.01),
        )
        wte = ts.get_variable(
            "wte",
            [hparams.n_vocab, hparams.n_embd],
            initializer=ts.random_normal_initializer(stddev=0.02),
        )
        past_length = 0 if past is None else past.shape[-2]
        positions = torch.arange(past_length, past_length + X.shape[1], device=X.device)
        h = F.embedding(X, wte) + F.embedding(positions, wpe)

        presents = []
        pasts = [None] * hparams.n_layer if past is None else past.unbind(dim=1)
        for layer, of_layer in enumerate(pasts):
            h, present = block(h, f"h{layer}", past=of_layer, hparams=hparams)
            presents.append(present)
        logits = norm(h, "ln_f") @ wte.T
        return {"logits": logits, "present": torch.stack(presents, dim=1)}


# ---- its checkpoint ----------------------------------------------------------------------------


def read_hparams(path: Path) -> HParams:
    """The sizes from ``hparams.json``; without it from the shapes, if heads have 64 features."""
    if (path / "hparams.json").exists():
        return HParams(**json.loads((path / "hparams.json").read_text()))
    with checkpoint.open(path) as saved:
        n_vocab, n_embd = saved.shape("model/wte")
        layers = sum(name.endswith("/ln_1/g") for name in saved)
        return HParams(n_vocab, saved.shape("model/wpe")[0], n_embd, n_embd // 64, layers)


def load(path: Path) -> ts.ScopedModule[..., dict[str, Tensor]]:
    """The model with the variables of a checkpoint."""
    net = ts.ScopedModule(functools.partial(model, read_hparams(path)))
    checkpoint.load(net, path)  # Not built yet: so no initial values are drawn.
    return net.build(torch.zeros(1, 1, dtype=torch.int64))


# ---- text as tokens ----------------------------------------------------------------------------

# Words with the space before them, by kinds of characters (see `kind`). The original's pattern has
# \p{L} for letters and \p{N} for numbers, which Python's re does not know.
PIECES = re.compile(
    r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII
)


def kind(character: str) -> str:
    """An ASCII character of the same kind: a letter, a number, a space or another."""
    if character.isascii():
        return character
    if character.isspace():
        return "\t"  # " " would count as the space before a word.
    return {"L": "a", "N": "0"}.get(unicodedata.category(character)[0], "!")


def pieces_of(text: str) -> list[str]:
    """A text split into words, numbers and so on; no token crosses their borders."""
    kinds = "".join(map(kind, text))
    return [text[slice(*match.span())] for match in PIECES.finditer(kinds)]


def letters_of_bytes() -> list[str]:
    """The letter that stands for each byte in a vocabulary: itself if it can be seen."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(0x100)
    return [chr(byte if byte in seen else next(others)) for byte in range(0x100)]


class Encoder:
    """Text to tokens and back: byte-pair encoding, by ``encoder.json`` and ``vocab.bpe``."""

    def __init__(self, path: Path) -> None:
        self.numbers = json.loads((path / "encoder.json").read_text(encoding="utf-8"))
        self.names = {number: name for name, number in self.numbers.items()}
        merges = (path / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(merges) if line}
        self.letters = letters_of_bytes()
        self.bytes = {letter: byte for byte, letter in enumerate(self.letters)}
        self.end_of_text = self.numbers.get("<|endoftext|>", 0)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return [self.numbers[part] for piece in pieces_of(text) for part in self.merge(piece)]

    def merge(self, piece: str) -> list[str]:
        """Join the letters of a piece, the pair that comes first among the merges first."""
        parts = [self.letters[byte] for byte in piece.encode()]
        while len(parts) > 1:
            pairs = itertools.pairwise(parts)
            rank, at = min((self.ranks.get(pair, sys.maxsize), at) for at, pair in enumerate(pairs))
            if rank == sys.maxsize:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens; where they end within a character, a replacement for it."""
        letters = "".join(self.names[token] for token in tokens)
        return bytes(self.bytes[letter] for letter in letters).decode(errors="replace")


class Numbers:
    """In place of an `Encoder`, for a model without a vocabulary: tokens as numbers."""

    end_of_text = 0

    def encode(self, text: str) -> list[int]:
        """The numbers in a text."""
        if not all(map(str.isdecimal, text.split())):
            raise SystemExit(f"There is no encoder.json, so the prompt has to be numbers: {text!r}")
        return list(map(int, text.split()))

    def decode(self, tokens: list[int]) -> str:
        """The numbers, with spaces between them."""
        return " ".join(map(str, tokens))


# ---- writing -----------------------------------------------------------------------------------


@torch.no_grad()
def generate(
    net: Callable[..., dict[str, Tensor]],
    tokens: Tensor,
    count: int,
    temperature: float = 0,
    top_k: int = 0,
    random: torch.Generator | None = None,
) -> Tensor:
    """Continue ``tokens``, ``[batch, sequence]``, by ``count`` more; returns all of them.

    Args:
        net: the model, compiled or not.
        tokens: the tokens to continue, on the model's device.
        count: how many to add, one after the other.
        temperature: 0 takes the likeliest one each time; 1 draws from the model's distribution;
            between them likelier ones are preferred.
        top_k: how many of the likeliest ones to draw from; 0 for all.
        random: the generator of the draws; on the CPU, so that a seed gives the same everywhere.
    """
    past = None
    last = tokens
    for _ in range(count):
        results = net(last, past)
        present = results["present"]
        past = present if past is None else torch.cat([past, present], dim=-2)
        fits = results["logits"][:, -1].float()
        if temperature == 0:
            last = fits.argmax(-1, keepdim=True)
        else:
            if top_k:
                worst = fits.topk(top_k).values[:, -1:]
                fits = fits.masked_fill(fits < worst, -torch.inf)
            chances = (fits / temperature).softmax(-1).cpu()
            last = torch.multinomial(chances, 1, generator=random).to(tokens.device)
        tokens = torch.cat([tokens, last], dim=1)
    return tokens


# ---- the command -------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Load, encode, generate, decode."""
    path: Path = args.directory
    began = time.perf_counter()
    try:
        net = load(path).to(args.device)
    except ts.ScopeError as error:  # No checkpoint, or none of such a model.
        raise SystemExit(str(error)) from None
    seconds = time.perf_counter() - began
    encoder = Encoder(path) if (path / "encoder.json").exists() else Numbers()
    prompt = encoder.encode(args.prompt)
    start = prompt or [encoder.end_of_text]  # A text begins where another ends.
    n_vocab, n_ctx = len(net["model/wte"]), len(net["model/wpe"])
    if max(start) >= n_vocab:
        raise SystemExit(f"The model has tokens from 0 to {n_vocab - 1}, not {max(start)}.")
    room = n_ctx - len(start)
    count = min(20, room) if args.tokens is None else args.tokens
    if count > room or room < 0:
        raise SystemExit(
            f"A text has {n_ctx} tokens at most. The prompt has {len(start)}, so there is room "
            f"for {max(0, room)} more."
        )

    numbers = sum(variable.numel() for variable in net.parameters())
    print(f"{len(net)} variables, {numbers:,} numbers, loaded from {path} in {seconds:.1f} seconds")
    if path == TINY:
        print(f"{net}\nIts weights are random, and so is what it writes; tokens are numbers.")

    began = time.perf_counter()
    random = torch.Generator().manual_seed(args.seed)
    tokens = torch.tensor([start], device=args.device)
    tokens = generate(net, tokens, count, args.temperature, args.top_k, random)
    seconds = time.perf_counter() - began
    print(f"\n{encoder.decode(prompt + tokens[0, len(start) :].tolist())}\n")
    print(f"{count} tokens in {seconds:.1f} seconds")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, default=TINY, help="of the checkpoint")
    parser.add_argument("--prompt", default="", help="what to go on with")
    parser.add_argument("--tokens", type=int, help="how many to add; default: 20, if they fit")
    parser.add_argument(
        "--temperature", type=float, default=0, help="0, the default, takes the likeliest token"
    )
    parser.add_argument("--top-k", type=int, default=0, help="draw from so many; default: all")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.top_k and not args.temperature:
        parser.error("--top-k draws tokens, which takes a --temperature: 1, for example")
    run(args)


if __name__ == "__main__":
    main()
