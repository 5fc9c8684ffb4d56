"""The port of GPT-2: TensorFlow's numbers from TensorFlow's checkpoint, and the example's command.

``tests/data/checkpoints/gpt2_tiny`` has the original program's checkpoint with random weights, and
in ``golden.npz`` what TensorFlow 2.21 computed with it. ``greedy.json`` has what the example wrote
once, with the command.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import torchscope as ts
from torchscope import checkpoint

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "data" / "checkpoints" / "gpt2_tiny"
GREEDY: dict[str, str] = json.loads((TINY / "greedy.json").read_text())["runs"]
GOLDEN = {name: torch.from_numpy(values) for name, values in np.load(TINY / "golden.npz").items()}
GRADIENTS = {name.removeprefix("grad/"): g for name, g in GOLDEN.items() if name.startswith("grad")}
TOKENS = GOLDEN["tokens"].long()
STEP_TOKENS = GOLDEN["step_tokens"].long()


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpt2", ROOT / "examples" / "gpt2.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["gpt2"] = importlib.util.module_from_spec(spec)  # Dynamo looks there.
    spec.loader.exec_module(module)
    return module


gpt2 = load_example()


@pytest.fixture
def net() -> ts.ScopedModule[..., dict[str, Tensor]]:
    return gpt2.load(TINY)


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


# ---- the numbers of TensorFlow -------------------------------------------------------------------


def test_the_names_are_those_of_the_checkpoint_made_in_the_order_of_the_original(net):
    assert list(net) == list(GRADIENTS)
    assert {name: list(net[name].shape) for name in net} == dict(checkpoint.list_variables(TINY))


def test_every_variable_has_the_value_in_the_checkpoint(net):
    saved = checkpoint.open(TINY)
    assert [name for name in saved if not torch.equal(net[name], saved[name])] == []


@pytest.mark.parametrize("result", ["logits", "present"])
def test_all_tokens_at_once_give_the_results_of_tensorflow(net, result: str):
    assert_close(net(TOKENS)[result], GOLDEN[result])


def loss_of(net: Callable[..., Any]) -> Tensor:
    logits = net(TOKENS)["logits"]
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())


def test_the_loss_is_that_of_tensorflow(net):
    assert_close(loss_of(net), GOLDEN["loss"])


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_of_each_variable_is_that_of_tensorflow(net, name: str):
    assert net[name].grad is None
    loss_of(net).backward()
    assert_close(net[name].grad, GRADIENTS[name])


@pytest.mark.parametrize("result", ["logits", "present"])
def test_a_step_with_the_past_gives_the_results_of_tensorflow(net, result: str):
    assert_close(net(STEP_TOKENS, past=GOLDEN["past_in"])[result], GOLDEN[f"step_{result}"])


def twice_in_one_pass(reuse: Any) -> ts.ScopedModule[..., tuple[Tensor, Tensor]]:
    """The model made, then called with a past, as the original's ``sample.py`` does in a graph."""
    hparams = gpt2.read_hparams(TINY)

    def body(tokens: Tensor, step_tokens: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        first = gpt2.model(hparams=hparams, X=tokens)
        second = gpt2.model(hparams=hparams, X=step_tokens, past=past, reuse=reuse)
        return first["logits"], second["logits"]

    return ts.ScopedModule(body)


@pytest.mark.parametrize("reuse", [ts.AUTO_REUSE, True])
def test_a_model_made_and_then_reused_in_one_pass_has_one_set_of_variables(reuse: Any):
    both = twice_in_one_pass(reuse)
    both.load_state_dict(dict(checkpoint.open(TINY)))
    first, second = both(TOKENS, STEP_TOKENS, GOLDEN["past_in"])
    assert list(both) == list(GRADIENTS)
    assert_close(first, GOLDEN["logits"])
    assert_close(second, GOLDEN["step_logits"])


def test_a_model_made_twice_in_one_pass_without_reuse_is_refused():
    with pytest.raises(ts.VariableExistsError, match=r"'model/wpe' already exists.*AUTO_REUSE"):
        twice_in_one_pass(False).build(TOKENS, STEP_TOKENS, GOLDEN["past_in"])


# ---- as PyTorch has it ---------------------------------------------------------------------------


def step_by_step(net: Callable[..., Any], tokens: Tensor, first: int) -> dict[str, Tensor]:
    """The results for ``first`` tokens at once, then for each of the others by itself."""
    results = [net(tokens[:, :first])]
    past = results[0]["present"]
    for token in tokens[:, first:].split(1, dim=1):
        results.append(net(token, past))
        past = torch.cat([past, results[-1]["present"]], dim=-2)
    return {"logits": torch.cat([each["logits"] for each in results], dim=1), "present": past}


@pytest.mark.parametrize("first", [1, 4, 8])
def test_step_by_step_comes_to_the_same_as_all_at_once(net, first: int):
    results = step_by_step(net, TOKENS, first)
    assert_close(results["logits"], GOLDEN["logits"])
    assert_close(results["present"], GOLDEN["present"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_model_computes_in_the_dtype_of_its_variables(net, dtype: torch.dtype):
    results = step_by_step(net.to(dtype), TOKENS, 4)
    rough = {torch.float64: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}[dtype]
    assert results["logits"].dtype == results["present"].dtype == dtype
    torch.testing.assert_close(results["logits"].float(), GOLDEN["logits"], rtol=0, atol=rough)


def test_the_model_makes_its_tensors_on_the_device_of_its_inputs(net):
    results = step_by_step(net.to("meta"), TOKENS.to("meta"), 4)
    assert results["logits"].device.type == "meta"
    assert results["logits"].shape == GOLDEN["logits"].shape


@pytest.fixture
def quiet_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it compiles
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("quiet_dynamo")
def test_compiled_it_is_one_graph_that_gives_equal_results_and_gradients(net):
    counter = CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    eager = torch.autograd.grad(loss_of(net), list(net.parameters()))
    assert torch.equal(compiled(TOKENS)["logits"], net(TOKENS)["logits"])
    assert all(
        map(torch.equal, torch.autograd.grad(loss_of(compiled), list(net.parameters())), eager)
    )
    assert counter.frame_count == 1


@pytest.mark.usefixtures("quiet_dynamo")
@torch.no_grad()
def test_compiled_steps_with_a_growing_past_are_equal_and_compile_three_graphs(net):
    counter = CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    found = step_by_step(compiled, TOKENS, 2)
    eager = step_by_step(net, TOKENS, 2)
    assert torch.equal(found["logits"], eager["logits"])
    assert torch.equal(found["present"], eager["present"])
    assert counter.frame_count == 3  # Without a past, with one, with one of any length.


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_dynamo")
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="inductor needs a C++ compiler"
)
@torch.no_grad()
def test_inductor_gives_the_results_of_tensorflow_with_and_without_the_past(net):
    compiled = torch.compile(net, fullgraph=True)
    assert_close(compiled(TOKENS)["logits"], GOLDEN["logits"])
    assert_close(compiled(STEP_TOKENS, GOLDEN["past_in"])["logits"], GOLDEN["step_logits"])


# ---- writing -------------------------------------------------------------------------------------


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


@pytest.mark.parametrize("prompt", GREEDY)
def test_the_likeliest_tokens_are_those_recorded(net, prompt: str):
    expected = torch.tensor([numbers(GREEDY[prompt])])
    start = torch.tensor([numbers(prompt)])
    assert torch.equal(gpt2.generate(net, start, 16 - start.shape[1]), expected)


def test_texts_are_continued_in_a_batch_as_by_themselves(net):
    prompts = [prompt for prompt in GREEDY if len(numbers(prompt)) == 4]
    assert len(prompts) == 3
    written = gpt2.generate(net, torch.tensor([numbers(prompt) for prompt in prompts]), 12)
    assert written.tolist() == [numbers(GREEDY[prompt]) for prompt in prompts]


@pytest.mark.usefixtures("quiet_dynamo")
def test_a_compiled_model_writes_the_same(net):
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    prompt, expected = next(iter(GREEDY.items()))
    assert gpt2.generate(compiled, torch.tensor([numbers(prompt)]), 12)[0].tolist() == numbers(
        expected
    )


def drawn(net: Any, seed: int, **options: Any) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return gpt2.generate(net, TOKENS[:, :3], 10, random=random, **options)


def test_a_seed_repeats_what_is_drawn(net):
    first, again, other = (drawn(net, seed, temperature=1) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_drawing_from_the_likeliest_alone_is_taking_it(net):
    assert torch.equal(drawn(net, 0, temperature=2, top_k=1), gpt2.generate(net, TOKENS[:, :3], 10))


def test_only_as_many_tokens_are_drawn_from_as_asked_for(net):
    many = TOKENS[:1, :5].expand(200, -1)
    written = gpt2.generate(net, many, 1, temperature=5, top_k=3)[:, -1]
    likeliest = net(many)["logits"][0, -1].topk(3).indices
    assert sorted(set(written.tolist())) == sorted(likeliest.tolist())


# ---- text as tokens ------------------------------------------------------------------------------

MERGES = ["l o", "lo w", "e r", "Ġ low", "b c", "a b", "Ã ©"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary as small as can be, in files like the published ones."""
    path = tmp_path_factory.mktemp("vocabulary")
    names = [*gpt2.letters_of_bytes(), *(merge.replace(" ", "") for merge in MERGES)]
    tokens = {name: number for number, name in enumerate([*names, "<|endoftext|>"])}
    (path / "encoder.json").write_text(json.dumps(tokens))
    (path / "vocab.bpe").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("It's  what I'll do.", ["It", "'s", " ", " what", " I", "'ll", " do", "."]),
        ("don't SHOUT'S", ["don", "'t", " SHOUT", "'", "S"]),
        ("call 1234, a1b2!?", ["call", " 1234", ",", " a", "1", "b", "2", "!?"]),
        ("one\n\n  two \t\n", ["one", "\n\n ", " two", " \t\n"]),
        ("snake_case", ["snake", "_", "case"]),
        ("Größe 3½ m² Ⅷ", ["Größe", " 3½", " m", "²", " Ⅷ"]),
        ("日本語 ١٢ 🙂🙃 x", ["日本語", " ١٢", " 🙂🙃", " x"]),
        ("no\u00a0break", ["no", "\u00a0", "break"]),
        ("e\u0301", ["e", "\u0301"]),
    ],
)
def test_a_text_falls_into_pieces_by_kinds_of_characters(text: str, pieces: list[str]):
    assert gpt2.pieces_of(text) == pieces


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("lower", ["low", "er"]),
        ("low lower", ["low", "Ġlow", "er"]),
        ("abc", ["a", "bc"]),  # The merge "b c" comes before "a b".
        ("abab", ["ab", "ab"]),
        ("wolé", ["w", "o", "l", "Ã©"]),
        ("🙂", ["ð", "Ł", "Ļ", "Ĥ"]),
        (" \n", ["Ġ", "Ċ"]),
    ],
)
def test_letters_are_joined_in_the_order_of_the_merges(
    vocabulary: Path, text: str, tokens: list[str]
):
    encoder = gpt2.Encoder(vocabulary)
    encoded = encoder.encode(text)
    assert [encoder.names[number] for number in encoded] == tokens
    assert encoder.decode(encoded) == text


def test_every_byte_has_a_letter_of_its_own_that_can_be_seen():
    letters = gpt2.letters_of_bytes()
    assert len(set(letters)) == 256
    assert [letter for letter in letters if letter.isspace() or not letter.isprintable()] == []


def test_tokens_that_end_within_a_character_are_decoded_all_the_same(vocabulary: Path):
    encoder = gpt2.Encoder(vocabulary)
    assert encoder.decode(encoder.encode("lo🙂")[:-1]) == "lo\ufffd"


# ---- the sizes -----------------------------------------------------------------------------------


def write_checkpoint(path: Path, hparams: Any) -> None:
    """A directory as the published ones are, without a vocabulary, with other weights."""
    net = ts.ScopedModule(lambda X: gpt2.model(hparams, X), seed=0).build(TOKENS)  # noqa: N803
    checkpoint.save(net, path / "model.ckpt")


def test_without_hparams_the_sizes_are_those_of_the_shapes(tmp_path: Path):
    hparams = gpt2.HParams(n_vocab=70, n_ctx=20, n_embd=128, n_head=2, n_layer=3)
    write_checkpoint(tmp_path, hparams)
    assert gpt2.read_hparams(tmp_path) == hparams
    assert gpt2.load(tmp_path)(TOKENS)["present"].shape == (2, 3, 2, 2, 9, 64)


def test_hparams_that_do_not_fit_the_checkpoint_are_refused(tmp_path: Path):
    write_checkpoint(tmp_path, gpt2.HParams(70, 20, 128, 2, 3))
    (tmp_path / "hparams.json").write_text(json.dumps(gpt2.HParams(70, 20, 128, 2, 4)._asdict()))
    with pytest.raises(ts.StateDictError, match=r"lacks names that the first pass made.*'model/h3"):
        gpt2.load(tmp_path)


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command in this process; gives what it prints."""

    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["gpt2.py", "--device=cpu", *arguments])
        gpt2.main()
        return capsys.readouterr().out

    return command


def test_without_arguments_the_script_shows_a_tiny_model_and_what_it_writes():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "gpt2.py"), "--device=cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # This tree's torchscope, installed or not.
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("28 variables, 16,344 numbers, loaded from ")
    assert "(model/h0/attn/c_attn/w): Parameter (1, 24, 72) float32 cpu" in done.stdout
    assert re.search(r"^\d+( \d+){14}\n\n15 tokens in \d+\.\d seconds$", done.stdout, re.MULTILINE)


def test_the_command_that_was_recorded_writes_what_it_wrote(command: Callable[..., str]):
    prompt, expected = next(iter(GREEDY.items()))
    printed = command(str(TINY), f"--prompt={prompt}", "--tokens=12")
    assert printed.split("\n\n")[1] == expected


def test_with_a_vocabulary_the_command_goes_on_with_a_text(
    vocabulary: Path, tmp_path: Path, command: Callable[..., str]
):
    path = shutil.copytree(vocabulary, tmp_path / "model")
    write_checkpoint(path, gpt2.HParams(n_vocab=264, n_ctx=12, n_embd=64, n_head=1, n_layer=1))
    options = ["--tokens=4", "--temperature=0.9", "--top-k=20", "--seed=3"]
    first, again = (command(str(path), *options, "--prompt=lower é") for _ in range(2))
    (written,) = re.findall(r"seconds\n\n(.*)\n\n4 tokens in \d+\.\d seconds\n$", first, re.DOTALL)
    assert written.startswith("lower é")
    assert f"\n\n{written}\n\n" in again


def test_without_a_prompt_a_text_begins_where_another_ends(
    vocabulary: Path, tmp_path: Path, command: Callable[..., str]
):
    path = shutil.copytree(vocabulary, tmp_path / "model")
    write_checkpoint(path, gpt2.HParams(n_vocab=264, n_ctx=12, n_embd=64, n_head=1, n_layer=1))
    encoder = gpt2.Encoder(path)
    assert encoder.end_of_text == 263
    expected = gpt2.generate(gpt2.load(path), torch.tensor([[263]]), 11)[0, 1:]
    assert f"\n\n{encoder.decode(expected.tolist())}\n\n11 tokens in" in command(str(path))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--prompt=once upon"], "no encoder.json, so the prompt has to be numbers: 'once upon'"),
        (["--prompt=3 61"], "tokens from 0 to 60, not 61"),
        (["--prompt=1 2", "--tokens=15"], "The prompt has 2, so there is room for 14 more"),
        (["/nowhere/at/all"], "No checkpoint at /nowhere/at/all"),
        ([str(TINY.parent / "dcgan_tiny")], "has no variable 'model/wte' among its 120"),
        (["--top-k=5"], "takes a --temperature"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_nothing_else(
    command: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
):
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    printed = capsys.readouterr()
    assert problem in f"{stopped.value.code} {printed.err}"
    assert printed.out == ""
