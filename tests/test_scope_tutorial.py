"""TensorFlow's tutorial "Sharing Variables", program by program."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom

import torchscope as ts


@pytest.fixture(params=["a store", "the default store"])
def variables(request):
    """The store in which a program of the tutorial makes its variables."""
    if request.param == "the default store":
        yield ts.default_store()
    else:
        with ts.VariableStore() as store:
            yield store


@pytest.fixture
def image():
    return torch.rand(1, 4, 6, 6)


def conv_relu(x, kernel_shape, bias_shape):
    # Create variable named "weights".
    weights = ts.get_variable("weights", kernel_shape, initializer=ts.random_normal_initializer())
    # Create variable named "biases".
    biases = ts.get_variable("biases", bias_shape, initializer=ts.constant_initializer(0.0))
    return F.relu(F.conv2d(x, weights, biases, padding="same"))


def my_image_filter(input_images):
    with ts.variable_scope("conv1"):
        # Variables created here will be named "conv1/weights", "conv1/biases".
        relu1 = conv_relu(input_images, [4, 4, 5, 5], [4])
    with ts.variable_scope("conv2"):
        # Variables created here will be named "conv2/weights", "conv2/biases".
        return conv_relu(relu1, [4, 4, 5, 5], [4])


FOUR_NAMES = ["conv1/weights", "conv1/biases", "conv2/weights", "conv2/biases"]
IN_MODEL = [f"model/{name}" for name in FOUR_NAMES]


def test_conv_relu_twice_without_scopes_is_refused(variables, image, refused):
    x = conv_relu(image, [4, 4, 5, 5], [4])
    assert list(variables) == ["weights", "biases"]

    first_made = r"Variable 'weights' already exists.*first made at .*test_scope_tutorial\.py:\d+"
    with refused(variables, ts.VariableExistsError, match=first_made):
        conv_relu(x, [4, 4, 5, 5], [4])


def test_conv_relu_under_conv1_and_conv2_makes_four_variables(variables, image):
    my_image_filter(image)
    assert list(variables) == FOUR_NAMES


def test_the_filter_twice_is_refused(variables, image, refused):
    my_image_filter(image)
    already = "Variable 'conv1/weights' already exists"
    with refused(variables, ts.VariableExistsError, match=already):
        my_image_filter(image)


def test_the_scope_of_a_name_opened_again_with_reuse_shares_the_filter(variables, image):
    with ts.variable_scope("model"):
        result1 = my_image_filter(image)
    with ts.variable_scope("model", reuse=True):
        result2 = my_image_filter(image)
    assert list(variables) == IN_MODEL
    assert torch.equal(result1, result2)


def test_reuse_variables_between_two_calls_shares_the_filter(variables, image):
    with ts.variable_scope("model") as scope:
        result1 = my_image_filter(image)
        scope.reuse_variables()
        result2 = my_image_filter(image)
    assert list(variables) == IN_MODEL
    assert torch.equal(result1, result2)


def test_a_scope_object_entered_again_with_reuse_shares_the_filter(variables, image):
    with ts.variable_scope("model") as scope:
        result1 = my_image_filter(image)
    with ts.variable_scope(scope, reuse=True):
        result2 = my_image_filter(image)
    assert list(variables) == IN_MODEL
    assert torch.equal(result1, result2)


def test_two_scopes_make_two_filters(variables, image):
    with ts.variable_scope("model1"):
        result1 = my_image_filter(image)
    with ts.variable_scope("model2"):
        result2 = my_image_filter(image)
    assert len(variables) == 8
    assert not torch.equal(result1, result2)
