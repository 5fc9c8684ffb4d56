"""What a file is by its first bytes, and what to do with it here: one sentence for each kind."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

HEAD = 4096  # bytes that are looked at

_MAPPING = "checkpoint.load takes any mapping from names to arrays"


class Kind(NamedTuple):
    """A kind of file that is not read: how it begins, what it is, and what to do."""

    begins: re.Pattern[bytes]
    what: str
    do: str


def _kind(begins: bytes, what: str, do: str) -> Kind:
    return Kind(re.compile(begins, re.DOTALL), what, do)


_ORIGINAL = "Give the checkpoint that it was made from."
_UNPACK = "Unpack it, and give a file that was in it."
_FAILED = "The download failed: fetch it again, and look at what came."

# A length of protobuf's, and a name in ASCII behind its own.
_LENGTH = rb"[\x80-\xff]{0,4}[\0-\x7f]"
_NAME = rb"[\0-\x7f][!-~]+"

# Those that begin alike: the more special first. Protobufs have no magic number, so they are last.
_KINDS = (
    _kind(
        rb"version https://git-lfs\.github\.com/spec",
        "a Git LFS pointer, not the file itself",
        "To fetch that: git lfs pull",
    ),
    _kind(rb"\s*<(?i:!doctype html|html|head)", "an HTML page", _FAILED),
    _kind(rb"\s*<\?xml", "an XML document", _FAILED),
    _kind(
        rb"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes them",
        f"h5py reads it, and {_MAPPING}.",
    ),
    _kind(rb"\x93NUMPY", "one numpy array", f"{_MAPPING}: {{'name': numpy.load(path)}}."),
    _kind(rb"....TFL3", "a TensorFlow Lite model", _ORIGINAL),
    _kind(rb"GGUF|lmgg|tjgg|ggml", "a GGUF or GGML model", _ORIGINAL),
    _kind(rb"\x1f\x8b", "compressed by gzip", "Unpack it: gunzip; tar -xzf, if it is a .tar.gz."),
    _kind(rb"BZh[1-9]1AY&SY", "compressed by bzip2", "Unpack it: bunzip2, or tar -xjf."),
    _kind(rb"\xfd7zXZ\0", "compressed by xz", "Unpack it: unxz, or tar -xJf."),
    _kind(rb"\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it: unzstd."),
    _kind(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07", "an archive", _UNPACK),
    _kind(rb".{257}ustar", "a tar archive", f"{_UNPACK} tar -xf does it."),
    _kind(rb"\x89PNG|\xff\xd8\xff|GIF8", "an image", ""),
    _kind(rb"%PDF", "a PDF document", ""),
    _kind(rb"\0{48,}\Z", "a file of zeros", _FAILED),
    _kind(
        rb"\x80[\x02-\x05](?=.*StructuredToParameterName@@)",
        "a checkpoint of PaddlePaddle",
        f"paddle.load(path) gives a mapping, and {_MAPPING}.",
    ),
    _kind(
        rb"\x80[\x02-\x05].{0,9}[\]}(cX\x8c\x94KMJN]",
        "a Python pickle, but not one of torch.save",
        f"If you trust it: pickle.load gives what is in it, and {_MAPPING}.",
    ),
    _kind(
        rb"\x08\x01\x12[\x80-\xff]{1,4}[\0-\x7f]\x0a",
        "the graph of a SavedModel, without the values of variables",
        "Give the directory that it lies in.",
    ),
    _kind(
        rb"\x0a%b\x0a%b\x12%b(\x08%b)*\x12[\0-\x7f](Float|Int|UInt|Bool|BFloat|String)"
        % (_LENGTH, _NAME, _LENGTH, _LENGTH),
        "a checkpoint of MindSpore",
        f"mindspore.load_checkpoint(path) gives a mapping, and {_MAPPING}.",
    ),
    _kind(
        rb"\x08[\x01-\x1f](\x12[\0-\x7f][ -~]|\x3a%b\x0a|\x42[\0-\x20][\x0a\x10])" % _LENGTH,
        "an ONNX model",
        f"onnx.load(path).graph.initializer has the weights, and {_MAPPING}.",
    ),
    _kind(
        rb"\x0a%b(\x12%b|\x0a[\0-\x20][!-~]*\x12%b)?\x0a%b\x0a%b[\x12\x1a]"
        % (_LENGTH, _LENGTH, _LENGTH, _LENGTH, _NAME),
        "a TensorFlow graph without the values of variables (.meta)",
        "Give the checkpoint beside it.",
    ),
    _kind(
        rb"\x0a%b\x0a%b\x12%b" % (_LENGTH, _NAME, _NAME),
        "a TensorFlow graph (.pb)",
        "Give the checkpoint that it was made from; a frozen graph has its values as constants, "
        "which are not read.",
    ),
    _kind(rb"\s*node \{", "a TensorFlow graph as text", "Give the checkpoint."),
    _kind(rb"\s*[{\[]", "JSON", "Give the file of weights beside it."),
    _kind(rb"[\t\n\r -~]+\Z", "text", "If it was downloaded, look at what it says."),
)

# The same of what is in a zip archive.
_IN_ZIP = (
    _kind(
        rb"(.*/)?(constants\.pkl|code/)",
        "a TorchScript archive",
        "torch.jit.load(path).state_dict() gives a mapping, which checkpoint.load takes.",
    ),
    _kind(
        rb"[^/]*\.npy\Z",
        "an .npz file of numpy arrays",
        "checkpoint.load takes the mapping that numpy.load(path) gives.",
    ),
    _kind(
        rb"model\.weights\.h5",
        "a .keras file",
        f"Unpack it: h5py reads the model.weights.h5 in it, and {_MAPPING}.",
    ),
)


def explained(head: bytes) -> str:
    """What a file that is not read is, by its first bytes, and what to do.

    >>> explained(b"version https://git-lfs.github.com/spec/v1")
    'a Git LFS pointer, not the file itself. To fetch that: git lfs pull'
    """
    if not head:
        return "empty."
    for kind in _KINDS:
        if kind.begins.match(head):
            return _sentence(kind)
    return f"not of a kind that is read; it begins with {head[:8]!r}."


def explained_zip(names: Iterable[str]) -> str:
    """What a zip archive with files of these names is."""
    listed = [name.encode(errors="replace") for name in names]
    for kind in _IN_ZIP:
        if any(map(kind.begins.match, listed)):
            return _sentence(kind)
    return f"a zip archive. {_UNPACK}"


_DIRECTORIES = (
    ("model.safetensors", "a Hugging Face directory", "Give {0}, which is in it."),
    ("model.safetensors.index.json", "a Hugging Face directory", "Give {0}, which is in it."),
    ("pytorch_model.bin", "a Hugging Face directory", "Give {0}, which is in it."),
    ("pytorch_model.bin.index.json", "a Hugging Face directory", "Give {0}, which is in it."),
    ("adapter_model.safetensors", "a PEFT adapter", "Give {0}, which is in it."),
    ("tf_model.h5", "a Hugging Face directory", f"h5py reads {{0}}, and {_MAPPING}."),
    (
        ".metadata",
        "one of torch.distributed.checkpoint",
        "Write it as one file: python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
        "DIRECTORY model.pt",
    ),
    (
        "_CHECKPOINT_METADATA",
        "a checkpoint of Orbax (JAX)",
        f"Restore it with orbax.checkpoint; {_MAPPING}.",
    ),
    ("data.pkl", "an unpacked file of torch.save", "Zip it again, without compression: zip -0 -r."),
    (
        "saved_model.pb",
        "a SavedModel that has no variables",
        "A frozen graph has its values as constants, which are not read.",
    ),
)


def explained_directory(names: Collection[str]) -> str:
    """What a directory with files of these names is; "" if they say nothing.

    >>> explained_directory(["config.json", "model.safetensors"])
    'a Hugging Face directory. Give model.safetensors, which is in it.'
    """
    for name, what, do in _DIRECTORIES:
        if name in names:
            return f"{what}. {do.format(name)}"
    return ""


def _sentence(kind: Kind) -> str:
    return f"{kind.what}. {kind.do}".rstrip()
