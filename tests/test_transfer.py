"""Fine-tuning from a network of other sizes: what is copied, what is not, and that it says so."""

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np.runs import Settings
from eirnn_np.runs.folder import start_params
from eirnn_np.trainer import RunError


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


@pytest.mark.parametrize("constraint", ["abs", "rectify", "free"])
@pytest.mark.parametrize("before", ["abs", "rectify", "free"])
def test_the_weights_stay_where_theta_means_something_else(before, constraint):
    """Whatever the constraint: W is copied; a scaled mask has another theta, a new connection starts as new."""
    rng = np.random.default_rng(3)
    old = ei.ModelConfig(n_hidden=9, constraint=before, mask=np.eye(9, k=1) + 2 * np.eye(9, k=2))
    new = ei.ModelConfig(n_hidden=9, constraint=constraint, mask=3 * np.eye(9, k=1) + 2 * np.eye(9, k=2) + np.eye(9))
    trained = ei.init_params(old, 1, "float64")
    trained.w_rec = np.abs(rng.normal(size=(9, 9)))
    params, copied = ei.init_from(new, trained, old, seed=4)
    weights, fresh = ei.effective_weights(new, params), ei.effective_weights(new, ei.init_params(new, 4, "float64"))
    np.testing.assert_allclose(weights - np.diag(np.diag(weights)), ei.effective_weights(old, trained), rtol=1e-15)
    np.testing.assert_array_equal(np.diag(weights), np.diag(fresh))
    assert "w_rec: 72 of 81 numbers copied" in copied


def test_a_sign_that_is_forbidden_is_refused():
    free, dale = ei.ModelConfig(n_hidden=7, constraint="free"), ei.ModelConfig(n_hidden=9)
    with pytest.raises(ValueError, match="w_rec has weights of a sign that constraint and mask of the new network"):
        ei.init_from(dale, ei.init_params(free), free)


def test_a_run_starts_from_a_network_of_another_size_and_says_what_it_took(tmp_path):
    """--init-from, of a run folder or a file; in the run's own dtype."""
    old, new = ei.ModelConfig(n_hidden=9, n_in=2), ei.ModelConfig(n_hidden=12)
    trained = ei.init_params(old, 5, "float64")
    ei.save_params(tmp_path / "params.safetensors", old, trained)
    expected, lines = ei.init_from(new, trained.astype("float32"), old, seed=6)
    for path in (tmp_path, tmp_path / "params.safetensors"):
        params, said = start_params(new, Settings(seed=6, init_from=path))
        assert params.dtype == np.float32
        np.testing.assert_array_equal(params.flat, expected.flat)
        assert said == [f"starting from {tmp_path / 'params.safetensors'}:", *(f"  {line}" for line in lines)]
    assert "  w_rec: 81 of 144 numbers copied" in said
    with pytest.raises(RunError, match="cannot start from .*nowhere: No such file"):
        start_params(new, Settings(init_from=tmp_path / "nowhere"))
    ei.save_params(tmp_path / "free", ei.ModelConfig(constraint="free"), ei.init_params(ei.ModelConfig()))
    with pytest.raises(RunError, match="cannot start from .*free: w_rec has weights of a sign"):
        start_params(new, Settings(init_from=tmp_path / "free"))
