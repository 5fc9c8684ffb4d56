"""docs/tf1.md lists what is in torchscope.tf1, and the missing names say what to write instead."""

import functools
import traceback

import pytest
import tf1_page

import torchscope.tf1 as tf
from torchscope.tf1 import _missing

ENTRIES = tf1_page.entries()


def test_the_page_is_what_its_command_writes():
    assert tf1_page.PAGE.read_text() == tf1_page.page(), "run python tests/tf1_page.py"


@pytest.mark.parametrize("name", ENTRIES)
def test_a_docstring_says_what_a_name_does_and_what_torch_has_for_it(name):
    value, _ = ENTRIES[name]
    assert tf1_page.in_torch(name, value)
    if tf1_page.unwrapped(value).__module__.startswith("torchscope"):
        assert tf1_page.summary(value).endswith((".", ":"))


@pytest.mark.parametrize("name", _missing.INSTEAD)
def test_a_missing_name_says_what_to_write_instead(name):
    def look_up(name):
        return functools.reduce(getattr, name.split(".")[1:], tf)

    namespace = tf1_page.namespaces().get(name)
    name = name if namespace is None else f"{name}.whatever_else"  # Some of it is there.
    with pytest.raises(AttributeError) as error:
        look_up(name)
    assert _missing.INSTEAD[name.removesuffix(".whatever_else")] in str(error.value)


def test_the_nearest_name_is_offered():
    with pytest.raises(AttributeError, match=r"tf.reduce_men is not .* mean tf.reduce_mean\?"):
        _ = tf.reduce_men
    with pytest.raises(AttributeError, match=r"tf.nn.softmx is not .* mean tf.nn.softmax\?"):
        _ = tf.nn.softmx
    with pytest.raises(AttributeError, match=r"tf.xyz is not .* docs/tf1.md lists the names"):
        _ = tf.xyz
    assert not hasattr(tf, "placeholder")


def test_python_adds_no_name_that_looks_alike():
    with pytest.raises(AttributeError) as error:
        _ = tf.Session  # Python 3.12 and later: "Did you mean: 'hessians'?"
    assert error.value.name == "Session"
    assert traceback.format_exception_only(error.value)[-1].strip().endswith(str(error.value))
