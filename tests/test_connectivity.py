"""Connectivity of values: balance, norms, probabilities, populations, against plain loops."""

import numpy as np
import pytest

from eirnn_np import connectivity as con


def test_balanced_and_normalised_by_hand():
    """Row by row: inhibition sums to excitation, the norm is 1; at N = 100 the numbers of the paper's default."""
    c = con.normalised(con.balanced(con.all_to_all(100), 80))
    for i in range(100):
        row = c[i]
        assert row[i] == 0
        assert abs(sum(row[:80]) - sum(row[80:])) < 1e-12
        assert abs(sum(v * v for v in row) - 1) < 1e-12
    np.testing.assert_allclose([c[0, 1], c[0, 99]], [0.0506, 0.1997], atol=5e-5)


def test_balance_by_the_number_of_inhibitory_units():
    c = con.balanced(con.all_to_all(7), 5, n_inh=2)
    assert (c[0, 5:] == 2).all()
    assert c[6, 5] == 2.5
    assert c[5, 6] == 2.5


def test_rows_that_lack_one_kind_stay_finite():
    c = np.array([[0, 0, 1.0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(con.balanced(c, 2), c)
    assert np.isfinite(con.normalised(c)).all()
    assert not con.normalised(c)[2].any()


def test_random_connections_have_their_probability():
    """By sender: within four standard deviations of 0.1 and 0.5; none to itself; a function of the seed."""
    p = np.repeat([0.1, 0.5], [160, 40])
    c = con.random_connections(p, seed=3)
    assert set(np.unique(c)) == {0, 1}
    assert not c.diagonal().any()
    for senders, share in ((slice(160), 0.1), (slice(160, None), 0.5)):
        block = c[:, senders]
        assert abs(block.mean() - share) < 4 * np.sqrt(share * (1 - share) / block.size) + share / 200
    assert (con.random_connections(p, seed=3) == c).all()
    assert (con.random_connections(p, seed=4) != c).any()
    assert con.random_connections(np.ones((3, 3)), self_connections=True).all()
    assert con.random_connections(np.ones((2, 5))).all()


def test_populations_follow_their_rules():
    sizes, rules = {"A": 3, "B": 5, "I": 2}, {("A", "B"): 1, ("B", "B"): 1, ("I", "A"): 0.5, ("A", "I"): 0}
    c, at = con.population_connections(sizes, rules, seed=1), con.population_slices(sizes)
    assert [at[name] for name in sizes] == [slice(0, 3), slice(3, 8), slice(8, 10)]
    for to in sizes:
        for one in sizes:
            block = c[at[to], at[one]]
            if (to, one) == ("B", "B"):
                assert (block == 1 - np.eye(5)).all()
            elif (to, one) == ("A", "B"):
                assert block.all()
            elif (to, one) != ("I", "A"):
                assert not block.any()


def test_masks_and_radius():
    c = con.all_to_all(4)
    assert con.dale_mask(c, 3).tolist() == [[0, 1, 1, -1], [1, 0, 1, -1], [1, 1, 0, -1], [1, 1, 1, 0]]
    assert con.spectral_radius([[0, -2], [2, 0]]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: con.random_connections([0.1, 1.2]), "probability must lie"),
        (lambda: con.all_to_all(0), "n_to must"),
        (lambda: con.balanced(np.ones((2, 3)), 4), "n_exc must"),
        (lambda: con.population_connections({"A": 2}, {("A", "B"): 1}), r"pairs \(to, from\) of A, found"),
        (lambda: con.population_connections({"A": 2}, {("A", "A"): 2}), "rules"),
        (lambda: con.population_slices({"A": 0}), "populations"),
        (lambda: con.normalised([1, 2]), "c must have shape"),
    ],
)
def test_what_is_wrong_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
