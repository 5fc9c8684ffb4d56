"""Where things live: files import downward only, and importing torchscope brings in little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import torchscope
import torchscope.tf1 as tf

PACKAGE = Path(torchscope.__file__).parent

# The floors, from the bottom: a file imports only from floors below its own.
FLOORS = [
    ["_dynamo", "_errors"],
    [
        "_as_now",
        "_growing",
        "_names",
        "_opened",
        "_locks",
        "_origin",
        "_sharded",
        "_optim",
        "_arguments",
    ],
    ["initializers"],
    ["_assign", "_pass", "_pending", "_stream", "regularizers"],
    ["_build", "_declaration", "_unbuilt"],
    ["_built", "_initial", "_lazy"],
    ["_table"],
    ["_saved"],
    ["_loading", "_mapping", "_walk"],
    ["_make", "_overview"],
    ["_make_module"],
    ["_store"],
    ["_default"],
    ["_reuse", "_collections", "_in_this_pass", "_owner"],
    ["_getter"],
    ["_scope"],
    ["_opening"],
    ["_variables", "_template", "_bind"],
    ["_module"],
    ["distributed", "report"],
    ["__init__"],
    ["checkpoint", "port"],
    ["tf1"],
    ["command_line"],
    ["__main__"],
]
# Within torchscope.checkpoint: the bottom knows bytes, then come files, names and stores.
CHECKPOINT_FLOORS = [
    [
        "_assignment",
        "_crc32c",
        "_flock",
        "_kinds",
        "_optimizers",
        "_proto",
        "_proto_writer",
        "_ranks",
        "_report",
        "_stored",
        "_terms",
    ],
    ["_dtypes", "_file", "_mapping", "_replacing", "_snappy", "_table_writer"],
    [
        "_bundle_writer",
        "_objects",
        "_paths",
        "_safetensors",
        "_slices",
        "_sstable",
        "_torch_file",
        "_varints",
    ],
    ["_bundle", "_mark", "_state", "_v1", "_values"],
    ["_history", "_open"],
    ["_publish", "_sources"],
    ["_plan", "_rows", "_save"],
    ["_compare", "_load", "_to_tensorflow"],
    ["_convert"],
    ["__init__"],
]
OVERVIEW_FLOORS = [["_rows", "_text"], ["_summary"], ["__init__"]]
COMMAND_LINE_FLOORS = [
    ["_terminal", "_wording"],
    ["_given", "_listing", "_modules", "_port"],
    ["_checkpoints"],
    ["_main"],
    ["__init__"],
]
# Within torchscope.port: names, then what they may hold, then what is done about them.
PORT_FLOORS = [
    ["_errors", "_names", "_syntax"],
    ["_calls", "_deferred", "_fallbacks", "_kinds", "_there"],
    ["_imports"],
    ["_finder", "_rewrite"],
    ["_differences"],
    ["_leftovers"],
    ["_port"],
    ["__init__"],
]
# Within torchscope.report: what a pass did and what was found in it; then what is drawn of it, and
# each way to draw it; then the report, and what makes and judges one.
REPORT_FLOORS = [
    ["_boxes", "_data", "_lineage", "_ties", "_undisturbed", "_words"],
    ["_lines", "_picture", "_recording"],
    ["_graph_text", "_near_misses", "_page", "_svg"],
    ["_save"],
    ["_report"],
    ["_reading"],
    ["_sharing"],
    ["_assertions"],
    ["__init__"],
]
# Within torchscope.tf1: how arguments are read, then TensorFlow's namespaces.
TF1_FLOORS = [
    ["_missing", "_name_scopes", "_padding", "_rows", "dtypes", "updates"],
    ["estimator", "initializers", "logging", "nest", "summary"],
    ["keras"],
    ["_convert", "_weights"],
    ["_arguments", "_scoped"],
    ["ops"],
    ["clipping", "debugging", "random", "rnn", "sparse", "train"],
    ["nn"],
    ["image", "layers", "linalg", "losses", "math"],
    ["slim"],
    ["contrib"],
    ["__init__"],
]
TF1_OPS_FLOORS = [
    ["_gradients", "checks", "gradients", "initial_values", "quiet", "random", "scopes"],
    ["functional", "shapes", "tensor_array"],
    ["control_flow"],
    ["arithmetic", "arrays", "casts", "comparisons", "creation", "elementwise", "indexing"],
    ["reductions", "segments", "slicing", "sparse", "variables"],
    ["linear_algebra", "sparse_segments", "special"],
    ["old_names"],
    ["__init__"],
]
TF1_NN_FLOORS = [
    ["_convolve", "activations", "cross_entropy", "dropout", "embedding", "linear", "ranking"],
    ["convolution", "normalization", "pooling", "sampled"],
    ["__init__"],
]
TF1_IMAGE_FLOORS = [["_images"], ["color", "geometry", "patches", "resize"], ["__init__"]]
TF1_RNN_FLOORS = [
    ["_fused", "_states", "linear"],
    ["_cell"],
    ["_parts", "_steps", "raw", "sequences"],
    ["cells", "lstm"],
    ["dropout", "wrappers"],
    ["rnn_cell"],
    ["__init__"],
]
TF1_TRAIN_FLOORS = [
    ["_lists", "_names", "_slots", "global_step", "optimizer", "schedules"],
    ["_rule", "averages", "rows"],
    ["adagrad", "adaptive", "descent"],
    ["__init__"],
]
TF1_LAYERS_FLOORS = [
    ["_parts"],
    ["convolution", "core", "layer", "normalization", "pooling"],
    ["objects"],
    ["__init__"],
]
TF1_SLIM_FLOORS = [
    ["_arg_scopes", "initializers", "losses", "model_analyzer", "regularizers", "summaries"],
    ["utils"],
    ["variables"],
    ["core", "embedding"],
    ["convolution", "normalization", "pooling", "spatial"],
    ["__init__"],
]
TF1_CONTRIB_FLOORS = [
    ["framework", "learn", "legacy_seq2seq", "seq2seq", "training"],
    ["__init__"],
]
FLOOR = {
    PACKAGE / folder / name: floor
    for folder, floors in (
        ("", FLOORS),
        ("checkpoint", CHECKPOINT_FLOORS),
        ("command_line", COMMAND_LINE_FLOORS),
        ("port", PORT_FLOORS),
        ("_overview", OVERVIEW_FLOORS),
        ("report", REPORT_FLOORS),
        ("tf1", TF1_FLOORS),
        ("tf1/keras", [["initializers", "regularizers"], ["__init__"]]),
        ("tf1/contrib", TF1_CONTRIB_FLOORS),
        ("tf1/layers", TF1_LAYERS_FLOORS),
        ("tf1/ops", TF1_OPS_FLOORS),
        ("tf1/slim", TF1_SLIM_FLOORS),
        ("tf1/nn", TF1_NN_FLOORS),
        ("tf1/image", TF1_IMAGE_FLOORS),
        ("tf1/rnn", TF1_RNN_FLOORS),
        ("tf1/train", TF1_TRAIN_FLOORS),
    )
    for floor, names in enumerate(floors)
    for name in names
}


def imports_of(path: Path) -> set[Path]:
    """The files of the package that a file imports, type checking's included."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            where = path.parents[node.level - 1] if node.level else PACKAGE.parent
            where = where.joinpath(*(node.module or "").split("."))
            for name in [alias.name for alias in node.names]:  # a file's, or of a package a file
                is_file = (where / f"{name}.py").exists() or (where / name).is_dir()
                found.add(where / name if is_file else where)
        elif isinstance(node, ast.Import):
            found.update(PACKAGE.parent.joinpath(*alias.name.split(".")) for alias in node.names)
    return {one for one in found if one.is_relative_to(PACKAGE)}


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_file_has_its_floor():
    packages = {path.parent for path in PACKAGE.glob("*/**/__init__.py")}
    assert {path.with_suffix("") for path in FILES} | packages == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_file_imports_only_from_below(path: Path):
    for imported in imports_of(path):
        importing, imported = neighbours(path.with_suffix(""), imported)
        assert FLOOR[imported] < FLOOR[importing], f"{path.stem} imports {imported.stem}"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("tf1/**/*.py")), ids=lambda path: path.stem)
def test_tf1_uses_public_names_only(path: Path):
    outside = {one for one in imports_of(path) if not one.is_relative_to(PACKAGE / "tf1")}
    assert not [one for one in outside if one.name.startswith("_")]


def neighbours(one: Path, other: Path) -> tuple[Path, Path]:
    """The entries of their deepest common folder to which two files belong.

    Between packages, a package as a whole has its floor; a package imported is its __init__.
    """
    common = max(
        {one.parent, *one.parent.parents} & {other, *other.parents}, key=lambda p: len(p.parts)
    )
    return tuple(common / (*path.relative_to(common).parts, "__init__")[0] for path in (one, other))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_the_first_line_says_what_a_file_holds(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.splitlines()[0].endswith(".")


def test_importing_torchscope_brings_in_nothing_but_itself():
    program = (
        "import sys, torch; before = set(sys.modules); import torchscope;"
        "print(sorted(n for n in set(sys.modules) - before if n.partition('.')[0] != 'torchscope'))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    brought = [name for name in ast.literal_eval(shown.stdout) if name != "typing_extensions"]
    assert brought == []


@pytest.mark.parametrize("package", ["checkpoint", "port", "report", "tf1"])
def test_a_package_is_imported_by_whoever_asks_torchscope_for_it(package: str):
    program = (
        f"import sys, torchscope as ts; name = 'torchscope.{package}'\n"
        "before = name in sys.modules\n"
        f"print(before, ts.{package} is sys.modules[name], {package!r} in dir(ts))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (shown.stdout, shown.stderr) == ("False True True\n", "")


def test_importing_tf1_leaves_its_namespaces_until_they_are_asked_for():
    program = (
        "import sys, torchscope; assert 'torchscope.tf1' not in sys.modules\n"
        "import torchscope.tf1 as tf\n"
        "spaces = {'nn', 'layers', 'rnn', 'slim', 'losses', 'image', 'train', 'contrib'}\n"
        "assert not any(f'torchscope.tf1.{name}' in sys.modules for name in spaces)\n"
        "assert spaces < set(dir(tf)) and callable(tf.layers.dense)\n"
        "from torchscope.tf1 import losses, extract_image_patches\n"
        "import torchscope.tf1.slim\n"
        "assert tf.slim is tf.contrib.slim and tf.losses is losses\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_type_checkers_know_the_namespaces_that_are_imported_when_asked_for():
    source = (PACKAGE / "tf1" / "__init__.py").read_text()
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    names = [alias.name for node in block.body for alias in node.names]
    assert sorted(names) == sorted([*tf._NAMESPACES, "extract_image_patches"])


def test_a_namespace_is_imported_in_compiled_code_as_well():
    program = (
        "import sys, torch, torchscope.tf1 as tf\n"
        "relu = torch.compile(lambda x: tf.nn.relu(x), fullgraph=True, backend='eager')\n"
        "assert 'torchscope.tf1.nn' not in sys.modules\n"
        "assert relu(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_all_there_and_sorted():
    names = torchscope.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(torchscope, name) for name in names)
    assert names == sorted(
        names, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
