import copy
import math
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from torchscope import initializers

NAMES = [
    "zeros",
    "ones",
    "constant",
    "random_normal",
    "truncated_normal",
    "random_uniform",
    "uniform_unit_scaling",
    "variance_scaling",
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "identity",
]
SEEDED = NAMES[3:-1]
FLOATS_ONLY = [name for name in NAMES[3:] if name != "random_uniform"]
WITH_DTYPE = [name for name in FLOATS_ONLY if not name.startswith(("he_", "lecun_"))]

# A sample's mean and deviation are compared within this many of their standard errors.
ERRORS = 5
# Density at the bounds of distributions of deviation 1: the largest of n values lies about
# 1 / (n * density) inside the bound, and less than 12 times that but for one time in 160,000.
UNIFORM_EDGE = 1 / math.sqrt(12)
TRUNCATED_EDGE = 0.0497
GAPS = 12
TRUNCATED_STDDEV = 0.87962566103423978
NARROW = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


def make(name: str, *args, **kwargs):
    return getattr(initializers, name)(*args, **kwargs)


@pytest.fixture(autouse=True)
def _the_same_values_each_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def _double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_spread(values: torch.Tensor, mean: float, stddev: float, samples: int = 1) -> None:
    """Mean and deviation agree, with numbers that are exact, or with another sample's (2)."""
    error = ERRORS * stddev * math.sqrt(samples / values.numel())
    assert values.mean().item() == pytest.approx(mean, abs=error)
    # No distribution here has heavier tails than the normal one, whose deviation errs by this.
    assert values.std().item() == pytest.approx(stddev, abs=error / math.sqrt(2))


# What TensorFlow 2.21 made (tf.compat.v1, graph mode): mean, deviation, least and largest value of
# one tensor each, to six digits.
RECORDED = {
    "glorot_uniform": ([400, 300], -0.000233266, 0.0533817, -0.0925788, 0.0925766),
    "glorot_uniform/conv": ([5, 5, 40, 60], 0.000189185, 0.02826, -0.0489856, 0.0489886),
    "glorot_uniform/1d": ([90000], 6.76373e-06, 0.00332706, -0.00577335, 0.00577343),
    "glorot_uniform/3d": ([1, 400, 300], -7.88965e-05, 0.0533472, -0.0925808, 0.0925813),
    "glorot_normal": ([400, 300], -0.000140345, 0.0535677, -0.121534, 0.121533),
    "truncated_normal": ([400, 300], 2.64163e-05, 0.0175559, -0.0399999, 0.0399968),
    "random_normal": ([400, 300], -0.0042548, 0.993564, None, None),
    "random_uniform": ([400, 300], 0.501525, 0.288694, 3.09944e-06, 1),
    "variance_scaling": ([400, 300], 7.08183e-05, 0.0501457, -0.113663, 0.113666),
    "he_normal": ([5, 5, 40, 60], -0.000299184, 0.0447574, -0.101648, 0.101657),
    "he_uniform": ([5, 5, 40, 60], -0.000330277, 0.0447591, -0.0774549, 0.0774596),
    "lecun_normal": ([400, 300], 0.000204525, 0.0501475, -0.113681, 0.11365),
    "uniform_unit_scaling": ([400, 300], 0.000157849, 0.0499817, -0.0866021, 0.0866013),
    "orthogonal": ([400, 300], -5.56673e-05, 0.05, None, None),
}


@pytest.mark.parametrize("case", RECORDED)
def test_the_values_spread_as_those_that_tensorflow_made(case: str) -> None:
    shape, mean, stddev, least, largest = RECORDED[case]
    name = case.partition("/")[0]
    values = make(name, **({"stddev": 0.02} if name == "truncated_normal" else {}))(shape)

    assert values.dtype == torch.float32
    assert list(values.shape) == shape
    assert_spread(values, mean, stddev, samples=2)
    if least is not None:
        truncated = "normal" in name or name == "variance_scaling"
        edge = TRUNCATED_EDGE if truncated else UNIFORM_EDGE
        gap = GAPS * stddev / (edge * values.numel())
        assert values.min().item() == pytest.approx(least, abs=gap)
        assert values.max().item() == pytest.approx(largest, abs=gap)


@pytest.mark.parametrize(
    ("name", "shape", "stddev"),
    [
        ("glorot_uniform", [400, 300], math.sqrt(2 / 700)),
        ("glorot_uniform", [5, 5, 40, 60], math.sqrt(2 / (25 * 100))),
        ("glorot_normal", [400, 300], math.sqrt(2 / 700)),
        ("he_normal", [5, 5, 40, 60], math.sqrt(2 / 1000)),
        ("he_uniform", [5, 5, 40, 60], math.sqrt(2 / 1000)),
        ("lecun_normal", [400, 300], math.sqrt(1 / 400)),
        ("lecun_uniform", [400, 300], math.sqrt(1 / 400)),
        ("lecun_uniform", [3, 20, 10, 50], math.sqrt(1 / 600)),
    ],
)
def test_the_named_scalings_have_the_deviation_of_their_papers(
    name: str, shape: list[int], stddev: float
) -> None:
    values = make(name)(shape)

    assert_spread(values, 0, stddev)
    widest = math.sqrt(3) if name.endswith("uniform") else 2 / TRUNCATED_STDDEV
    assert values.abs().max() <= widest * stddev * (1 + 1e-6)


def test_glorot_uniform_of_a_400_to_300_matrix_reaches_its_limit_and_no_further() -> None:
    assert make("glorot_uniform")([400, 300]).abs().max().item() == pytest.approx(0.0926, abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_second_name_for_the_same_class(name: str) -> None:
    assert getattr(initializers, name + "_initializer") is getattr(initializers, name)


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (("zeros",), "zeros()"),
        (("ones", torch.int32), "ones(dtype=torch.int32)"),
        (("constant", [1, 2], torch.half, True), "constant(value=[1, 2], dtype=torch.float16, "),
        (("random_normal", 0.0, 0.1), "random_normal(mean=0.0, stddev=0.1)"),
        (("truncated_normal", 1.0, 2.0, 3), "truncated_normal(mean=1.0, stddev=2.0, seed=3)"),
        (("random_uniform", -1, 1, 5), "random_uniform(minval=-1, maxval=1, seed=5)"),
        (("uniform_unit_scaling", 1.43), "uniform_unit_scaling(factor=1.43)"),
        (
            ("variance_scaling", 2.0, "fan_out", "uniform", 4),
            "variance_scaling(scale=2.0, mode='fan_out', distribution='uniform', seed=4)",
        ),
        (("glorot_uniform", 1, torch.half), "glorot_uniform(seed=1, dtype=torch.float16)"),
        (("glorot_normal",), "glorot_normal()"),
        (("he_normal", 7), "he_normal(seed=7)"),
        (("lecun_uniform",), "lecun_uniform()"),
        (("orthogonal", 2.0, 1), "orthogonal(gain=2.0, seed=1)"),
        (("identity", 0.5, torch.half), "identity(gain=0.5, dtype=torch.float16)"),
    ],
)
def test_arguments_come_in_tensorflow_s_order_and_are_shown(made: tuple, shown: str) -> None:
    assert repr(make(*made)).startswith(shown)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_makes_the_same_values_and_is_another_object(name: str, copied) -> None:
    initializer = make(name, **({"seed": 3} if name in SEEDED else {}))
    again = copied(initializer)

    assert torch.equal(again([4, 3]), initializer([4, 3]))
    assert repr(again) == repr(initializer)
    assert again != initializer


@pytest.mark.parametrize("name", NAMES)
def test_it_is_called_as_tensorflow_calls_it(name: str) -> None:
    initializer = make(name)

    assert initializer([4, 3], torch.float64, None).dtype == torch.float64
    assert initializer(torch.Size([4, 3]), dtype=torch.half, partition_info=object()).shape == (
        4,
        3,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("_double_by_default")
def test_without_a_dtype_the_default_dtype_is_taken(name: str) -> None:
    assert make(name)([4, 3]).dtype == torch.float64


@pytest.mark.parametrize("name", ["zeros", "ones", "constant", *WITH_DTYPE, "random_uniform"])
def test_the_dtype_of_the_call_wins_over_that_of_the_class(name: str) -> None:
    initializer = make(name, dtype=torch.float64)

    assert initializer([4, 3]).dtype == torch.float64
    assert initializer([4, 3], torch.half).dtype == torch.half


@pytest.mark.parametrize("name", NAMES)
def test_values_are_made_on_the_default_device(name: str) -> None:
    with torch.device("meta"):
        assert make(name)([4, 3]).is_meta


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_does_no_harm_where_there_are_no_values(name: str) -> None:
    with torch.device("meta"):
        assert make(name, seed=1)([4, 3]).is_meta


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [[0, 3], [3, 0]])
def test_a_shape_may_be_empty(name: str, shape: list[int]) -> None:
    assert list(make(name)(shape).shape) == shape


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("orthogonal", "identity")])
def test_a_shape_may_be_a_scalar_s(name: str) -> None:
    assert make(name)([]).shape == ()


# Seeds and dtypes of what is random


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_makes_every_call_the_same_and_leaves_torch_s_stream_alone(name: str) -> None:
    initializer = make(name, seed=11)
    before = torch.get_rng_state()
    first = initializer([4, 3])

    assert torch.equal(initializer([4, 3]), first)
    assert torch.equal(make(name, seed=np.int64(11))([4, 3]), first)
    assert not torch.equal(make(name, seed=12)([4, 3]), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", SEEDED)
def test_without_a_seed_values_come_from_torch_s_stream(name: str) -> None:
    initializer = make(name)
    first, second = initializer([4, 3]), initializer([4, 3])
    torch.manual_seed(0)

    assert torch.equal(initializer([4, 3]), first)
    assert not torch.equal(second, first)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", SEEDED)
def test_narrow_floats_are_rounded_from_single_precision(name: str, dtype: torch.dtype) -> None:
    initializer = make(name, seed=5)
    values = initializer([4, 3], dtype)

    assert values.dtype == dtype
    assert torch.equal(values.float(), initializer([4, 3]).to(dtype).float())


@pytest.mark.parametrize("name", SEEDED)
def test_double_precision_is_drawn_as_such(name: str) -> None:
    values = make(name)([4, 3], torch.float64)

    assert not torch.equal(values.float().double(), values)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("name", FLOATS_ONLY)
def test_a_dtype_that_is_not_floating_is_refused_at_the_call(name: str, dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"{name} makes floating-point values, not {dtype}"):
        make(name)([4, 3], dtype)


@pytest.mark.parametrize("name", WITH_DTYPE)
def test_a_dtype_that_is_not_floating_is_refused_by_the_class(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} makes floating-point values, not torch.int32"):
        make(name, dtype=torch.int32)


# zeros, ones, constant


@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.uint8, torch.int32, torch.int64, torch.complex64, torch.float64, *NARROW],
)
def test_zeros_and_ones_are_made_of_any_dtype(dtype: torch.dtype) -> None:
    zeros, ones = make("zeros")([2, 3], dtype), make("ones", dtype)([2, 3])

    assert (zeros.dtype, ones.dtype) == (dtype, dtype)
    assert zeros.to(torch.complex64).tolist() == [[0] * 3] * 2
    assert ones.to(torch.complex64).tolist() == [[1] * 3] * 2


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (3, [2, 2], [[3, 3], [3, 3]]),
        (True, [2], [1, 1]),
        (0.5, [], 0.5),
        (np.float32(0.5), [2], [0.5, 0.5]),
        (torch.tensor(0.5), [2], [0.5, 0.5]),
        ([1, 2, 3, 4], [2, 2], [[1, 2], [3, 4]]),
        (((1, 2), (3, 4)), [4], [1, 2, 3, 4]),
        ([0, 1, 2], [2, 3], [[0, 1, 2], [2, 2, 2]]),
        ([[1, 2]], [2, 2], [[1, 2], [2, 2]]),
        (np.arange(4).reshape(2, 2).T, [5], [0, 2, 1, 3, 3]),
        (torch.arange(4).reshape(2, 2).T, [2, 2], [[0, 2], [1, 3]]),
    ],
)
def test_constant_fills_row_by_row_and_repeats_its_last_value(value, shape, expected) -> None:
    values = make("constant", value)(shape)

    assert values.dtype == torch.float32
    assert values.tolist() == expected


def test_constant_follows_the_example_in_tensorflow_s_documentation() -> None:
    value = [0, 1, 2, 3, 4, 5, 6, 7]

    assert make("constant", value)([2, 4]).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert make("constant", value)([3, 4])[2].tolist() == [7, 7, 7, 7]
    with pytest.raises(ValueError, match=r"8 values; the shape \(2, 3\) takes .* at most 6"):
        make("constant", value)([2, 3])
    with pytest.raises(TypeError, match=r"values of shape \(8,\), not \(3, 4\)"):
        make("constant", value, verify_shape=True)([3, 4])


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], np.ones((2, 2)), torch.ones(2, 2)])
def test_constant_verifies_its_shape_if_told_to(value) -> None:
    initializer = make("constant", value, verify_shape=True)

    assert initializer([2, 2]).shape == (2, 2)
    with pytest.raises(TypeError, match=r"values of shape \(2, 2\), not \(4,\)"):
        initializer([4])


@pytest.mark.parametrize("value", [None, "1", object(), {1: 2}, {1, 2}, len])
def test_constant_refuses_what_is_not_a_value(value) -> None:
    with pytest.raises(TypeError, match="constant takes a number, a list, a tuple or an array"):
        make("constant", value)


@pytest.mark.parametrize("value", [[], (), [[]], np.empty(0), torch.empty(0)])
def test_constant_makes_something_of_nothing_only_for_empty_shapes(value) -> None:
    assert make("constant", value)([2, 0]).shape == (2, 0)
    with pytest.raises(ValueError, match="0 values"):
        make("constant", value)([1])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.5, torch.int32), ([1, 2.0], torch.int64), (1, torch.bool), ((1j,), torch.float32)],
)
def test_constant_refuses_numbers_that_the_dtype_cannot_hold(value, dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"cannot make {dtype} of"):
        make("constant", value)([2], dtype)


@pytest.mark.parametrize("array", [np.array([1.5, 2.5]), torch.tensor([1.5, 2.5])])
def test_constant_casts_an_array_as_asked(array) -> None:
    assert make("constant", array)([2], torch.int32).tolist() == [1, 2]


def test_constant_keeps_the_digits_of_double_precision() -> None:
    assert make("constant", 0.1)([], torch.float64).item() == 0.1
    assert make("constant", [0.1])([1], torch.float64).tolist() == [0.1]
    assert make("constant", np.array([0.1]))([1], torch.float64).tolist() == [0.1]


@pytest.mark.parametrize("dtype", NARROW)
def test_constant_is_made_of_narrow_floats_too(dtype: torch.dtype) -> None:
    values = make("constant", [1, 0.5])([3], dtype)

    assert values.dtype == dtype
    assert values.float().tolist() == [1, 0.5, 0.5]


@pytest.mark.parametrize("value", [1e300, -1e300, math.inf, -math.inf])
def test_constant_beyond_the_largest_value_is_infinite(value: float) -> None:
    assert make("constant", value)([2]).tolist() == [math.copysign(math.inf, value)] * 2


@pytest.mark.parametrize("value", [np.ones(3, np.float32), torch.ones(3, requires_grad=True)])
def test_constant_shares_neither_memory_nor_gradients_with_its_value(value) -> None:
    initializer = make("constant", value)
    values = initializer([3])
    values.zero_()

    assert not values.requires_grad
    assert initializer([3]).tolist() == [1, 1, 1]


def test_constant_takes_an_array_that_cannot_be_written_to() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False

    assert make("constant", array)([3]).tolist() == [0, 1, 2]


# The normal distributions


@pytest.mark.parametrize(("mean", "stddev"), [(0.0, 1.0), (3.0, 0.02), (-1.0, 5.0)])
def test_random_normal_has_its_mean_and_deviation(mean: float, stddev: float) -> None:
    values = make("random_normal", mean, stddev)([400, 300])

    assert_spread(values, mean, stddev)
    # Not cut: of 120,000 values 2.7 in a thousand lie beyond three deviations.
    beyond = ((values - mean).abs() > 3 * stddev).sum().item()
    assert beyond == pytest.approx(324, abs=ERRORS * math.sqrt(324))


@pytest.mark.parametrize(("mean", "stddev"), [(0.0, 1.0), (0.0, 0.02), (3.0, 0.5), (-9.0, 50.0)])
def test_truncated_normal_is_cut_at_two_deviations_and_not_rescaled(
    mean: float, stddev: float
) -> None:
    values = make("truncated_normal", mean, stddev)([400, 300])

    assert_spread(values, mean, TRUNCATED_STDDEV * stddev)
    # The cut is at exactly 2, but for the rounding of what is added to the mean.
    assert (values - mean).abs().max() <= 2 * stddev + 1e-6 * (abs(mean) + stddev)


def test_truncated_normal_of_deviation_002_ends_at_004() -> None:
    values = make("truncated_normal", stddev=0.02)([400, 300])

    assert values.std().item() == pytest.approx(
        0.01757, abs=5e-6 + ERRORS * 0.0176 / math.sqrt(240_000)
    )
    assert values.abs().max().item() == pytest.approx(0.04, abs=5e-5)


@pytest.mark.parametrize("name", ["random_normal", "truncated_normal"])
def test_without_a_deviation_all_values_are_the_mean(name: str) -> None:
    assert make(name, 2.5, 0.0)([3]).tolist() == [2.5, 2.5, 2.5]


# The uniform distributions


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (2.0, 2.5), (0, 1), (5, -5)])
def test_random_uniform_lies_between_its_bounds(low: float, high: float) -> None:
    values = make("random_uniform", low, high)([400, 300])

    assert_spread(values, (low + high) / 2, abs(high - low) / math.sqrt(12))
    assert values.min() >= min(low, high)
    assert values.max() <= max(low, high)


def test_random_uniform_ends_at_one_unless_told() -> None:
    values = make("random_uniform", 0.5)([100_000])

    assert values.min() >= 0.5
    assert 0.999 < values.max() < 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_random_uniform_of_integers_leaves_its_upper_bound_out(dtype: torch.dtype) -> None:
    values = make("random_uniform", 1, 7, dtype=dtype)([60_000])
    counts = values.long().bincount(minlength=8)

    assert values.dtype == dtype
    assert counts[[0, 7]].tolist() == [0, 0]
    # Each count is binomial, 60,000 times 1/6.
    assert (counts[1:7] - 10_000).abs().max() <= ERRORS * math.sqrt(60_000 * 5 / 36)


def test_random_uniform_of_integers_repeats_with_a_seed() -> None:
    initializer = make("random_uniform", 0, 1000, seed=3)

    assert torch.equal(initializer([9], torch.int64), initializer([9], torch.int64))


def test_random_uniform_of_integers_needs_its_upper_bound() -> None:
    with pytest.raises(ValueError, match=r"needs a bound to make torch.int32"):
        make("random_uniform", dtype=torch.int32)([3])


def test_random_uniform_of_integers_takes_no_fraction_for_a_bound() -> None:
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        make("random_uniform", 0, 2.5)([3], torch.int32)


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
def test_random_uniform_makes_floats_and_integers_only(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=f"floats and integers, not {dtype}"):
        make("random_uniform", 0, 1)([3], dtype)
    with pytest.raises(ValueError, match=f"floats and integers, not {dtype}"):
        make("random_uniform", 0, 1, dtype=dtype)


@pytest.mark.parametrize(
    ("shape", "inputs"), [([400, 300], 400), ([5, 4, 20, 30], 400), ([9], 1), ([], 1), ([0, 2], 1)]
)
@pytest.mark.parametrize("factor", [1.0, 1.43])
def test_uniform_unit_scaling_counts_all_sizes_but_the_last(
    shape: list[int], inputs: int, factor: float
) -> None:
    values = make("uniform_unit_scaling", factor, seed=1)(shape)

    # The seed gives the same draw, so that one value is enough to tell the limit.
    limit = factor * math.sqrt(3 / inputs)
    torch.testing.assert_close(values, limit * make("random_uniform", -1, 1, seed=1)(shape))


# variance_scaling


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [
        ([], 1, 1),
        ([7], 7, 7),
        ([400, 300], 400, 300),
        ([6, 4, 3], 24, 18),
        ([5, 5, 40, 60], 1000, 1500),
        ([2, 3, 4, 5, 6], 120, 144),
        ([0, 5], 0, 5),
    ],
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize(
    ("distribution", "drawn"),
    [
        ("uniform", ("random_uniform", -math.sqrt(3), math.sqrt(3))),
        ("untruncated_normal", ("random_normal", 0.0, 1.0)),
        ("truncated_normal", ("truncated_normal", 0.0, 1 / TRUNCATED_STDDEV)),
        ("normal", ("truncated_normal", 0.0, 1 / TRUNCATED_STDDEV)),
        ("UNIFORM", ("random_uniform", -math.sqrt(3), math.sqrt(3))),
    ],
)
def test_variance_scaling_counts_a_kernel_s_inputs_and_outputs_as_tensorflow_does(
    shape: list[int], fan_in: int, fan_out: int, mode: str, distribution: str, drawn: tuple
) -> None:
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    stddev = math.sqrt(2.5 / max(1, fans[mode]))
    values = make("variance_scaling", 2.5, mode, distribution, seed=1)(shape)

    # The same seed draws the same values of deviation 1; only the scale is in question.
    torch.testing.assert_close(values, stddev * make(*drawn, seed=1)(shape))


@pytest.mark.parametrize(
    "distribution", ["truncated_normal", "normal", "untruncated_normal", "uniform"]
)
def test_variance_scaling_has_the_deviation_asked_whatever_the_distribution(
    distribution: str,
) -> None:
    values = make("variance_scaling", 2.0, "fan_out", distribution)([3, 3, 100, 150])

    assert_spread(values, 0, math.sqrt(2 / 1350))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "scale must be positive, not 0.0"),
        ({"scale": -1}, "scale must be positive, not -1"),
        ({"scale": math.nan}, "scale must be positive, not nan"),
        ({"mode": "fan"}, "mode must be one of .*'fan_in'.*, not 'fan'"),
        ({"distribution": "gauss"}, "distribution must be one of .*'uniform'.*, not 'gauss'"),
    ],
)
def test_variance_scaling_refuses_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("variance_scaling", **arguments)


# The matrices


@pytest.mark.parametrize(
    "shape", [[5, 5], [8, 3], [3, 8], [3, 3, 4, 8], [2, 2, 30], [400, 300], [1, 1]]
)
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_orthogonal_has_orthonormal_rows_or_columns(shape: list[int], gain: float) -> None:
    values = make("orthogonal", gain)(shape, torch.float64)
    matrix = values.reshape(-1, shape[-1])
    small = min(matrix.shape)
    product = matrix.T @ matrix if matrix.shape[1] == small else matrix @ matrix.T

    assert list(values.shape) == shape
    torch.testing.assert_close(product, gain**2 * torch.eye(small, dtype=torch.float64))


@pytest.mark.parametrize("shape", [[6, 4], [4, 6]])
def test_orthogonal_is_the_decomposition_with_a_positive_diagonal(shape: list[int]) -> None:
    tall = make("random_normal", seed=2)([6, 4])
    values = make("orthogonal", seed=2)(shape)
    q = values if shape == [6, 4] else values.T
    r = q.T @ tall

    assert (r.diagonal() > 0).all()
    torch.testing.assert_close(r.tril(-1), torch.zeros(4, 4), rtol=0, atol=1e-5)


def test_orthogonal_prefers_no_sign() -> None:
    values = torch.cat([make("orthogonal")([1, 1]) for _ in range(400)])

    assert values.abs().tolist() == [[1]] * 400
    assert abs(values.sum()) <= ERRORS * math.sqrt(400)


@pytest.mark.parametrize("shape", [[], [3]])
def test_orthogonal_needs_two_sizes(shape: list[int]) -> None:
    with pytest.raises(ValueError, match=r"orthogonal makes matrices .* too few sizes"):
        make("orthogonal")(shape)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *NARROW])
def test_identity_has_its_gain_on_the_diagonal(shape: tuple[int, int], dtype: torch.dtype) -> None:
    values = make("identity", 0.5)(shape, dtype)

    assert values.dtype == dtype
    assert values.float().tolist() == (0.5 * np.eye(*shape)).tolist()


@pytest.mark.parametrize("shape", [[], [3], [2, 3, 3]])
def test_identity_makes_matrices_only(shape: list[int]) -> None:
    with pytest.raises(ValueError, match=f"identity makes matrices only; .* {len(shape)} sizes"):
        make("identity")(shape)
