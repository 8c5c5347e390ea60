"""Objects that hold work arrays or state of a training, copied and pickled: equal, independent, and they work."""

import copy
import pickle

import numpy as np
import pytest
from conftest import make_problem

import eirnn_np as ei
from eirnn_np.compiled import KernelModel, make_workspace

WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.fixture(params=WAYS)
def copied(request):
    return WAYS[request.param]


def arrays_of(thing):
    """Those of a workspace, or those of a model but dx0, which it writes."""
    named = thing._asdict() if isinstance(thing, tuple) else vars(thing)
    return [value for name, value in named.items() if isinstance(value, np.ndarray) and name != "dx0"]


def step_of(model, workspace, problem):
    """Loss and gradients by this model, in this workspace."""
    grads = ei.Params.like(problem.config, problem.params.dtype)
    weights = np.full(problem.labels.shape[:2], 1 / problem.labels[..., :1].size, problem.params.dtype)
    draw = model.noise_given(problem.noise)
    loss = model.loss_and_grads(grads, workspace, problem.params, problem.inputs, problem.labels, weights, draw)
    return loss, grads.flat


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_and_its_workspace(copied, dtype, dynamics):
    problem = make_problem(dtype=dtype, dynamics=dynamics)
    model = KernelModel(problem.config, dtype)
    workspace = make_workspace(problem.config, *problem.inputs.shape[:2], dtype)
    expected = step_of(model, workspace, problem)
    other, room = copied(model), copied(workspace)
    assert type(other) is KernelModel
    assert type(room) is type(workspace)
    for new, old in zip(arrays_of(other) + arrays_of(room), arrays_of(model) + arrays_of(workspace), strict=True):
        np.testing.assert_array_equal(new, old)
        assert new.dtype == old.dtype
        assert not np.shares_memory(new, old)
    assert all(array.ctypes.data % 64 == 0 for array in (*workspace, *room) if array.size)
    for array in arrays_of(model) + list(workspace):
        array[...] = 99
    found = step_of(other, room, problem)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("steps", [0, 3])
def test_a_trainer(copied, steps):
    """A copy goes on as the first would have, whichever of the two goes first."""
    problem = make_problem(dtype="float32")
    trainer = ei.Trainer(problem.config, problem.params, lr=0.01, seed=4)
    for _ in range(steps):
        trainer.step(problem.inputs, problem.labels)
    other = copied(trainer)
    assert (other.k, other.adam.k, other.lr, other.seed) == (steps, steps, 0.01, 4)
    before = other.params.flat.copy(), other.grads.flat.copy()
    losses = [trainer.step(problem.inputs, problem.labels) for _ in range(5)]
    np.testing.assert_array_equal((other.params.flat, other.grads.flat), before)
    assert losses == [other.step(problem.inputs, problem.labels) for _ in range(5)]
    np.testing.assert_array_equal(other.params.flat, trainer.params.flat)
    np.testing.assert_array_equal(other.adam.v, trainer.adam.v)
    for mine, theirs in ((other.params.flat, trainer.params.flat), (other.adam.m, trainer.adam.m)):
        assert not np.shares_memory(mine, theirs)


def test_what_the_kernels_would_misread_is_refused():
    """The step is called without a look at types: what a user can put into it is checked before."""
    problem = make_problem(dtype="float32")
    trainer = ei.Trainer(problem.config, problem.params)
    trainer.step(problem.inputs, problem.labels)
    before = trainer.params.flat.copy()
    for name in ("m", "v"):
        moments = getattr(trainer.adam, name)
        for wrong in (moments.astype("float64"), np.repeat(moments, 2)[::2], moments[:-1]):
            setattr(trainer.adam, name, wrong)
            with pytest.raises(ValueError, match="this Adam holds moments for"):
                trainer.step(problem.inputs, problem.labels)
        setattr(trainer.adam, name, moments)
    with pytest.raises(ValueError, match="params must be float32 like the model, found float64"):
        trainer._model.network(problem.params.astype("float64"))
    np.testing.assert_array_equal(trainer.params.flat, before)
    trainer.step(problem.inputs, problem.labels)
    assert not np.array_equal(trainer.params.flat, before)
