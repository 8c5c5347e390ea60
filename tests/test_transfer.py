"""Fine-tuning from a network of other sizes: what is copied, what is not, and that it says so."""

import numpy as np
import pytest

import eirnn_np as ei


def test_the_same_sizes_are_a_copy():
    config = ei.ModelConfig(n_hidden=7, train_x0=True)
    trained = ei.init_params(config, 3, "float64")
    params, copied = ei.init_from(config, trained, config, seed=9)
    np.testing.assert_array_equal(params.flat, trained.flat)
    assert params is not trained
    assert "w_rec: 49 of 49 numbers copied" in copied


@pytest.mark.parametrize(("larger", "smaller"), [((9, 4), (7, 3)), ((7, 3), (9, 4))])
def test_units_go_to_units_of_their_type(larger, smaller):
    (h_new, i_new), (h_old, i_old) = larger, smaller
    new = ei.ModelConfig(n_in=i_new, n_hidden=h_new, n_out=5, e_ratio=0.7, train_x0=True)
    old = ei.ModelConfig(n_in=i_old, n_hidden=h_old, n_out=4, n_exc=5)
    trained, fresh = ei.init_params(old, 1, "float64"), ei.init_params(new, 2, "float64")
    params, copied = ei.init_from(new, trained, old, seed=2)
    n_exc, n_inh = min(new.n_exc, old.n_exc), min(h_new - new.n_exc, h_old - old.n_exc)

    def there(unit):
        """The unit of the trained network that this one is, or None."""
        if unit < new.n_exc:
            return unit if unit < n_exc else None
        return old.n_exc + unit - new.n_exc if unit - new.n_exc < n_inh else None

    counted = {name: 0 for name in ("w_rec", "w_in", "w_out", "b_rec", "b_out")}
    for i in range(h_new):
        for j in range(h_new):
            both = there(i) is not None and there(j) is not None
            assert params.w_rec[i, j] == (trained.w_rec[there(i), there(j)] if both else fresh.w_rec[i, j])
            counted["w_rec"] += both
        for k in range(i_new):
            both = there(i) is not None and k < i_old
            assert params.w_in[i, k] == (trained.w_in[there(i), k] if both else fresh.w_in[i, k])
            counted["w_in"] += both
        for o in range(5) if i < new.n_exc else ():
            both = there(i) is not None and o < 4
            assert params.w_out[o, i] == (trained.w_out[o, there(i)] if both else fresh.w_out[o, i])
            counted["w_out"] += both
        assert params.b_rec[i] == (fresh.b_rec[i] if there(i) is None else trained.b_rec[there(i)])
        counted["b_rec"] += there(i) is not None
    counted["b_out"] = 4
    for name, n in counted.items():
        assert f"{name}: {n} of {getattr(params, name).size} numbers copied" in copied
    assert "x0: not copied, the trained network has none" in copied
    np.testing.assert_array_equal(params.x0, fresh.x0)
    without, said = ei.init_from(old, params, new)
    assert without.x0 is None
    assert "x0: left out, the new network has none" in said


def test_parameters_of_another_configuration_are_refused():
    small, large = ei.ModelConfig(n_hidden=7), ei.ModelConfig(n_hidden=9)
    with pytest.raises(ValueError, match="params"):
        ei.init_from(small, ei.init_params(small), large)
