"""Sphinx directives that list public names from their docstrings, and links to those names.

``public-names`` documents names of a module, ``tf1-names`` a namespace of ``torchscope.tf1`` whose
functions and their other names ``tests/tf1_page.py`` knows.
"""

import functools
import importlib
import inspect
import pydoc
from types import ModuleType
from typing import Any

import tf1_page
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import torchscope
import torchscope.checkpoint
import torchscope.report
from torchscope import _overview

OWN = [torchscope, torchscope.report, _overview]  # Whose names docstrings use bare.
INTERNAL = "ask, complete, full_name"  # What the files of a class's package call.


class PublicNames(SphinxDirective):
    """``.. public-names:: torchscope`` with the names as its content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        found: list[nodes.Node] = []
        for name in " ".join(self.content).split():
            value = getattr(importlib.import_module(module), name)
            others = [
                f"torchscope.{other}"
                for other in torchscope.__all__
                if module != "torchscope" and getattr(torchscope, other) is value
            ]
            found += documented(self, f"{module}.{name}", value, others)
        return found


class Tf1Names(SphinxDirective):
    """``.. tf1-names:: tf.nn`` documents all that ``tf.nn`` holds and no earlier namespace does."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        namespace = self.arguments[0]
        entries = {
            full: entry
            for full, entry in tf1_page.entries().items()
            if full.rpartition(".")[0] == namespace
        }
        found: list[nodes.Node] = []
        for title, names in by_source(entries).items():
            docs = [node for full in names for node in tf1_documented(self, full, *entries[full])]
            found += [section(title, docs)] if namespace == "tf" else docs
        return found + constants(self, namespace)


def tf1_documented(
    directive: SphinxDirective, full: str, value: Any, others: list[str]
) -> list[nodes.Node]:
    """A name of ``torchscope.tf1``; one that is torchscope's own leads there."""
    module = getattr(tf1_page.unwrapped(value), "__module__", None) or ""
    if module.startswith("torchscope.tf1"):
        return documented(directive, importable(full), value, others)
    own = public_name(value) or f"{module.partition('.')[0]}.{value.__name__}"
    lines = [f".. py:function:: {importable(full)}(...)", "", f"   As :py:obj:`{own}`."]
    return parsed(directive, lines, others)


def importable(full: str) -> str:
    """``tf.nn.relu`` as ``torchscope.tf1.nn.relu``, which Python can import."""
    namespace, _, name = full.rpartition(".")
    module = tf1_page.namespaces().get(namespace)
    return f"{module.__name__}.{name}" if module else full


def by_source(entries: dict[str, tuple[Any, list[str]]]) -> dict[str, list[str]]:
    """Names by the file that defines them, under a heading each."""
    groups: dict[str, list[str]] = {}
    for full, (value, _) in entries.items():
        module = getattr(tf1_page.unwrapped(value), "__module__", None) or ""
        last = module.rpartition(".")[2] if module.startswith("torchscope.tf1.") else "scopes"
        groups.setdefault(last.replace("_", " ").strip().capitalize(), []).append(full)
    return dict(sorted(groups.items()))


def section(title: str, content: list[nodes.Node]) -> nodes.section:
    """A section with a heading."""
    return nodes.section("", nodes.title(title, title), *content, ids=[nodes.make_id(title)])


def documented(
    directive: SphinxDirective, full: str, value: Any, others: list[str]
) -> list[nodes.Node]:
    """What the docstring of one name says, under its signature."""
    if inspect.isclass(value):
        lines = [f".. autoclass:: {full}", "   :members:", f"   :exclude-members: {INTERNAL}"]
    elif callable(value):
        lines = [f".. autofunction:: {full}"]
    else:
        lines = [f".. autodata:: {full}", "   :no-value:"]
    return parsed(directive, lines, others)


def parsed(directive: SphinxDirective, lines: list[str], others: list[str]) -> list[nodes.Node]:
    """A directive's nodes; the other names of what it documents lead to it, too."""
    made = directive.parse_text_to_nodes("\n".join(lines))
    found = nodes.section("", *made)  # So that it can be searched.
    for signature in [*found.findall(addnodes.desc_signature)][:1]:
        (first, *_) = signature["ids"]
        kind = signature.parent["objtype"]
        for name in {*others, *map(importable, others)}:
            directive.env.domains.python_domain.note_object(name, kind, first, location=signature)
        if others:
            signature.parent[-1] += also(others)
    return made


def also(names: list[str]) -> nodes.paragraph:
    """The other names, as a reader types them."""
    text = nodes.paragraph("", "Also ")
    for number, name in enumerate(names):
        text += [nodes.Text(", ")] * bool(number) + [nodes.literal(name, name)]
    return text


def constants(directive: SphinxDirective, namespace: str) -> list[nodes.Node]:
    """The values of a namespace that are not callable: dtypes, keys and levels."""
    module = tf1_page.namespaces()[namespace]
    names = [name for name, v in tf1_page.public_names(module).items() if not callable(v)]
    if not names:
        return []
    first, *rest = [f"{module.__name__}.{name}" for name in names]
    lines = [f".. py:data:: {first}", *[f"   {name}" for name in rest]]
    return [section("Values", directive.parse_text_to_nodes("\n".join(lines)))]


def shown_as_typed(app: Sphinx, tree: nodes.document) -> None:
    """Signatures begin as users type them: ``tf.nn.``, ``ts.``."""
    shown = {module.__name__: name for name, module in tf1_page.namespaces().items()}
    for prefix in tree.findall(addnodes.desc_addname):
        module = prefix.astext().rstrip(".")
        if module in shown:
            prefix.children = [nodes.Text(f"{shown[module]}.")]


def without_last_line(app: Sphinx, tree: nodes.document) -> None:
    """The empty line that ends a doctest is not shown."""
    for block in tree.findall(nodes.literal_block):
        block.rawsource = block.astext().rstrip()
        block.children = [nodes.Text(block.rawsource)]


def plain_defaults(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str | None, result: Any
) -> tuple[str | None, Any] | None:
    """A dataclass's default that a factory makes is shown as ``...``; Sphinx cannot read it."""
    return signature and (signature.replace("<factory>", "..."), result)


def lead_to_public(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.Element | None:
    """Where a type or an error is told by its private or its bare name, find the public one.

    What exists without a public name (type variables, tuples that functions return) stays text.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    value = pydoc.locate(target) or next(
        (vars(module)[target] for module in OWN if target in vars(module)), None
    )
    public = public_name(value)
    if public:
        python = env.domains.python_domain
        return python.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, shown)
    module = getattr(value, "__module__", None) or target
    return shown if value is not None and module.startswith("torchscope.") else None


@functools.cache
def public_name(value: Any) -> str | None:
    """Where the reference documents a value."""
    modules = [
        torchscope.initializers,
        torchscope.regularizers,
        torchscope.checkpoint,
        torchscope.report,
        torchscope,
    ]
    for module in modules:
        for name, other in vars(module).items():
            if other is value and not name.startswith("_") and name in documented_names(module):
                return f"{module.__name__}.{name}"
    found = (full for full, (entry, _) in tf1_page.entries().items() if entry is value)
    return next(map(importable, found), None)


def documented_names(module: ModuleType) -> list[str]:
    """Those that a page of the reference lists for a module."""
    listed = getattr(module, "__all__", None)
    own = (name.removesuffix("_initializer") for name in vars(module) if "_initializer" in name)
    return listed or [*own, *(name for name in vars(module) if name.endswith("regularizer"))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls it."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("tf1-names", Tf1Names)
    app.connect("autodoc-process-signature", plain_defaults)
    app.connect("doctree-read", shown_as_typed)
    app.connect("doctree-read", without_last_line)
    app.connect("missing-reference", lead_to_public)
    return {"parallel_read_safe": True}
