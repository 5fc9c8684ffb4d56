"""The examples of torchscope.tf1, run as a user would run them."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the examples' images come from scikit-learn")

ROOT = Path(__file__).parents[1]
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # This tree's torchscope, installed or not.

# As TensorFlow 1's guide "Variables", section "Sharing variables", prints it.
FILTER = """\
def conv_relu(input, kernel_shape, bias_shape):
    # Create variable named "weights".
    weights = tf.get_variable("weights", kernel_shape,
        initializer=tf.random_normal_initializer())
    # Create variable named "biases".
    biases = tf.get_variable("biases", bias_shape,
        initializer=tf.constant_initializer(0.0))
    conv = tf.nn.conv2d(input, weights,
        strides=[1, 1, 1, 1], padding='SAME')
    return tf.nn.relu(conv + biases)


def my_image_filter(input_images):
    with tf.variable_scope("conv1"):
        # Variables created here will be named "conv1/weights", "conv1/biases".
        relu1 = conv_relu(input_images, [5, 5, 32, 32], [32])
    with tf.variable_scope("conv2"):
        # Variables created here will be named "conv2/weights", "conv2/biases".
        return conv_relu(relu1, [5, 5, 32, 32], [32])
"""
WAYS = [
    """\
with tf.variable_scope("model"):
  output1 = my_image_filter(input1)
with tf.variable_scope("model", reuse=True):
  output2 = my_image_filter(input2)
""",
    """\
with tf.variable_scope("model") as scope:
  output1 = my_image_filter(input1)
  scope.reuse_variables()
  output2 = my_image_filter(input2)
""",
    """\
with tf.variable_scope("model") as scope:
  output1 = my_image_filter(input1)
with tf.variable_scope(scope, reuse=True):
  output2 = my_image_filter(input2)
""",
]
NAMES = ["model/conv1/weights", "model/conv1/biases", "model/conv2/weights", "model/conv2/biases"]


@pytest.fixture(scope="module")
def printed() -> str:
    command = [sys.executable, str(ROOT / "examples" / "shared_variables_tf1.py"), "--steps=30"]
    done = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("text", [FILTER, *(textwrap.indent(way, "    ") for way in WAYS)])
def test_the_program_is_the_guides_character_for_character(text: str):
    source = (ROOT / "examples" / "shared_variables_tf1.py").read_text()
    assert text in source
    assert "import torchscope.tf1 as tf\n" in source


def test_each_way_of_sharing_has_one_filter_of_four_variables(printed: str):
    assert re.findall(r"^ +(\S+) +\[", printed, re.MULTILINE) == 3 * NAMES
    assert printed.count("equal images have equal outputs: True") == 3


def test_each_way_learns_the_same_on_real_images(printed: str):
    apart = re.findall(r"after +(\d+) steps .* than two by (-?\d\.\d\d)", printed)
    assert len(apart) == 6
    assert apart[:2] == apart[2:4] == apart[4:]
    assert float(apart[1][1]) > float(apart[0][1]) + 0.05


def test_without_sharing_it_fails_as_the_guide_says(printed: str):
    assert re.search(
        r"VariableExistsError: Variable 'conv1/weights' already exists.*reuse", printed
    )
