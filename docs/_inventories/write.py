"""Write the inventories through which the site links to Python's and torch's documentation.

    python docs/_inventories/write.py       # after a page refers to something new

A build may fetch nothing, so these files are kept here. They hold the names that our pages refer
to, and no more; they are this project's, not the inventories that Python and torch publish.
"""

from pathlib import Path
from types import SimpleNamespace

from sphinx.util.inventory import InventoryFile

HERE = Path(__file__).parent
# kind -> page -> names. {} in a page stands for the name; the anchor on it is the name, too.
PYTHON = {
    "class": {
        "library/functions.html": "bool float int object",
        "library/stdtypes.html": "bytes complex dict list memoryview set slice str tuple",
        "library/collections.abc.html": "collections.abc.Callable collections.abc.Generator "
        "collections.abc.Hashable collections.abc.Iterable collections.abc.Iterator "
        "collections.abc.Mapping collections.abc.MutableMapping collections.abc.Sequence",
        "library/contextlib.html": "contextlib.AbstractContextManager",
        "library/os.html": "os.PathLike",
        "library/pathlib.html": "pathlib.Path",
    },
    "exception": {
        "library/exceptions.html": "AttributeError IndexError KeyError NotImplementedError OSError "
        "RuntimeError StopIteration TypeError UserWarning ValueError",
    },
    "data": {
        "library/constants.html": "None",
        "library/typing.html": "typing.Any typing.Literal typing.NamedTuple typing.Self",
    },
}
TORCH = {
    "class": {
        "tensors.html": "torch.Tensor",
        "tensor_attributes.html": "torch.dtype torch.device",
        "size.html": "torch.Size",
        "generated/{}.html": "torch.nn.Module torch.nn.ParameterDict torch.Generator",
        "optim.html": "torch.optim.Optimizer",
    },
    "module": {"nn.init.html": "torch.nn.init"},
}
# Where a class says that it lives in another module than the one that its documentation names.
TORCH_PRIVATE = {
    "torch.nn.modules.module.Module": "generated/torch.nn.Module.html#torch.nn.Module",
    "torch.optim.optimizer.Optimizer": "optim.html#torch.optim.Optimizer",
}


def objects(entries: dict[str, dict[str, str]]) -> list[tuple[str, str, str, str, str, int]]:
    """Rows as Sphinx's domains give them: name, shown as, kind, page, anchor, priority."""
    return [
        (name, name, kind, page.format(name), name if kind != "module" else f"module-{name}", 1)
        for kind, pages in entries.items()
        for page, names in pages.items()
        for name in names.split()
    ]


def write(path: Path, project: str, rows: list[tuple[str, str, str, str, str, int]]) -> None:
    """Write one inventory, as Sphinx would for a project that has these objects."""
    domain = SimpleNamespace(name="py", get_objects=lambda: rows)
    env = SimpleNamespace(
        config=SimpleNamespace(project=project, version=""),
        domains=SimpleNamespace(sorted=lambda: [domain]),
    )
    builder = SimpleNamespace(get_target_uri=lambda page: page)
    InventoryFile.dump(path, env, builder)
    print(f"{path.name}: {len(rows)} names")


def main() -> None:
    """Write both files."""
    moved = [(name, name, "class", *uri.split("#"), 1) for name, uri in TORCH_PRIVATE.items()]
    write(HERE / "python.inv", "Python: names that torchscope's pages refer to", objects(PYTHON))
    torch = [*objects(TORCH), *moved]
    write(HERE / "torch.inv", "PyTorch: names that torchscope's pages refer to", torch)


if __name__ == "__main__":
    main()
