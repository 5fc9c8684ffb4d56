"""Calls of TensorFlow's functions that are made in another way here; knows no names of a file."""

import re

import libcst as cst

from ._syntax import instead

# Classes that open a file as Python's own function does.
_OPENS = re.compile(r"(io\.)?gfile\.(GFile|FastGFile|Open)")

# Functions that make an int of a size, which is one here.
_OF_SIZES = re.compile(r"(compat\.)?dimension_value")

# Losses that took logits and labels by position before TensorFlow 1.0, and by name alone since.
_LOGITS_FIRST = re.compile(r"nn\.(softmax|sparse_softmax|sigmoid)_cross_entropy_with_logits")
_TIGHT_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def called_as_here(path: str, call: cst.Call) -> cst.BaseExpression:
    """A call of one of TensorFlow's functions, where it is called in another way here."""
    if _OF_SIZES.fullmatch(path) and len(call.args) == 1:
        return instead(call, call.args[0].value)
    if _OPENS.fullmatch(path):
        return call.with_changes(func=cst.Name("open"))
    if _LOGITS_FIRST.fullmatch(path) and len(_by_position(call)) == 2:
        logits, labels = (
            arg.with_changes(keyword=cst.Name(keyword), equal=_TIGHT_EQUAL)
            for arg, keyword in zip(call.args, ("logits", "labels"), strict=False)
        )
        return call.with_changes(args=[logits, labels, *call.args[2:]])
    return call


def _by_position(call: cst.Call) -> list[cst.Arg]:
    return [arg for arg in call.args if arg.keyword is None and not arg.star]
