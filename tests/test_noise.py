"""The counter-based generator: known answers, the same bits in kernel and NumPy, and the distribution."""

import naive
import numpy as np
import pytest
from scipy import stats

import eirnn_np as ei
from eirnn_np import noise
from eirnn_np.model import noise_of_trials

# Random123's published known-answer vectors for philox4x32-10 (kat_vectors): counter, key, words.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, words):
    assert tuple(int(w) for w in noise.philox4x32(counter, key)) == words
    assert tuple(naive.philox4x32_10(counter, key)) == words


def unit_config(n_hidden, **other):
    """sqrt(2 alpha) sigma_rec = 1, so that the noise is standard normal."""
    return ei.ModelConfig(n_hidden=n_hidden, dt=50.0, tau=100.0, sigma_rec=1.0, **other)


def test_kernel_equals_numpy_to_the_bit():
    for n_hidden, n_time, n_batch in ((7, 3, 2), (50, 5, 4), (64, 2, 3), (65, 2, 1), (200, 3, 2)):
        for seed, step in ((0, 0), (3, 9), (2**40 + 17, 2**31 + 5)):
            found = ei.recurrent_noise(unit_config(n_hidden), seed, step, n_time, n_batch)
            np.testing.assert_array_equal(found, noise.normals(seed, step, n_time, n_batch, n_hidden))


def test_values_are_box_muller_of_philox():
    found = ei.recurrent_noise(unit_config(70), seed=2**33 + 4, step=11, n_time=3, n_batch=5)
    for t, b, unit in ((0, 0, 0), (2, 4, 69), (1, 3, 16), (2, 0, 33), (0, 4, 63), (1, 1, 64)):
        np.testing.assert_allclose(found[t, b, unit], naive.normal(2**33 + 4, 11, t, b, unit), rtol=2e-6, atol=1e-6)


def test_a_draw_depends_on_its_own_counter_only():
    config = unit_config(50)
    large = ei.recurrent_noise(config, seed=1, step=2, n_time=9, n_batch=8)
    np.testing.assert_array_equal(ei.recurrent_noise(config, 1, 2, 4, 3), large[:4, :3])
    np.testing.assert_array_equal(ei.recurrent_noise(unit_config(20), 1, 2, 9, 8), large[:, :, :20])
    for seed, step in ((1, 3), (2, 2)):
        assert not np.isclose(ei.recurrent_noise(config, seed, step, 9, 8), large).any()


def test_scale_and_dtype():
    config = ei.ModelConfig(sigma_rec=0.15)
    single = ei.recurrent_noise(config, 0, 0, 4, 3)
    double = ei.recurrent_noise(config, 0, 0, 4, 3, dtype="float64")
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-6)  # one stream for both
    np.testing.assert_allclose(double, noise.normals(0, 0, 4, 3, 50) * np.sqrt(0.4) * 0.15, rtol=1e-12)
    assert (ei.recurrent_noise(ei.ModelConfig(sigma_rec=0.0), 0, 0, 4, 3) == 0).all()


@pytest.mark.parametrize(("n_hidden", "dtype"), [(7, "float64"), (65, "float32")])
def test_noise_of_trials_is_that_of_each_alone(n_hidden, dtype):
    config = unit_config(n_hidden, n_in=5, sigma_in=0.2, dynamics="brainpy")
    spans = np.array([(3, 0, 0, 4), (9, 0, 4, 1), (2**31, 2, 1, 3), (3, 3, 0, 5)])  # column 1 has none
    found = noise_of_trials(config, 2**40 + 1, spans, (5, 4), dtype)
    for kind, made in zip((ei.recurrent_noise, ei.input_noise), found):
        left = made.copy()
        for step, b, first, n_time in spans:
            np.testing.assert_array_equal(
                made[first : first + n_time, b], kind(config, 2**40 + 1, step, n_time, 1, dtype)[:, 0]
            )
            left[first : first + n_time, b] = 0
        assert made.dtype == dtype
        assert (left == 0).all()
    assert noise_of_trials(unit_config(n_hidden), 0, spans, (5, 4), dtype)[1] is None


@pytest.fixture(scope="module")
def sample():
    return np.stack([ei.recurrent_noise(unit_config(64), 7, step, 100, 16) for step in range(40)]).astype(float)


def test_moments_and_kolmogorov_smirnov(sample):
    z, n = sample.ravel(), sample.size  # 4.1 million
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert stats.kstest(z[:500_000], "norm").pvalue > 1e-4


def test_tails(sample):
    z, n = sample.ravel(), sample.size
    for bound in (3.0, 4.0, 4.5):
        expected = n * stats.norm.sf(bound)
        for count in ((z > bound).sum(), (z < -bound).sum()):
            assert abs(count - expected) < 5 * np.sqrt(expected)
    assert np.abs(z).max() < 6.8  # sqrt(-2 ln 2**-33)


@pytest.mark.parametrize("axis", range(4), ids=["step", "time", "trial", "unit"])
def test_no_correlation_along_any_axis(sample, axis):
    z = np.moveaxis(sample, axis, 0)
    for lag in (1, 2, 3, 16):
        if lag < len(z):
            products = z[lag:] * z[:-lag]
            assert abs(products.mean()) < 5 / np.sqrt(products.size), lag
            squares = (z[lag:] ** 2 - 1) * (z[:-lag] ** 2 - 1)
            assert abs(squares.mean()) < 5 * 2 / np.sqrt(squares.size), lag


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"seed": 0.5}, {"seed": 2**64}, {"step": -1}, {"n_time": 0}, {"n_batch": 1.5}]
)
def test_bad_arguments(change):
    arguments = {"seed": 0, "step": 0, "n_time": 2, "n_batch": 2, **change}
    with pytest.raises(ValueError, match=next(iter(change))):
        ei.recurrent_noise(unit_config(5), **arguments)
