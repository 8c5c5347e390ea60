"""Objects that hold work arrays or state of a training, copied and pickled: equal, independent, and they work."""

import copy
import pickle

import numpy as np
import pytest
from conftest import make_problem

import eirnn_np as ei
from eirnn_np import kernels
from eirnn_np.compiled import KernelModel, make_workspace
from eirnn_np.threads import limited

WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.fixture(params=WAYS)
def copied(request):
    return WAYS[request.param]


def arrays_of(thing):
    """Those of a workspace, or those of a model but dx0, which it writes."""
    named = thing._asdict() if isinstance(thing, tuple) else vars(thing)
    return [value for name, value in named.items() if isinstance(value, np.ndarray) and name != "dx0"]


def step_of(model, workspace, problem, made=False):
    """Loss and gradients by this model, in this workspace; with noise that it makes itself, or that of the problem."""
    grads = ei.Params.like(problem.config, problem.params.dtype)
    weights = np.full(problem.labels.shape[:2], 1 / problem.labels[..., :1].size, problem.params.dtype)
    draw = model.noise_made(3, 5) if made else model.noise_given(problem.noise)
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


DESKS = (
    "rows", "x", "z", "errs", "dr", "words", "normals", "soft", "parts", "squares", "flow", "right", "packed",
    "packed_parts",
)  # fmt: skip


OPTIONS = [
    {},
    {"penalties": ei.Penalties(l2_rates=0.1)},
    {"penalties": ei.Penalties(omega=0.1), "activation": "tanh"},
    {"penalties": ei.Penalties(l2_rates=0.1, omega=0.1)},
    {"activation": "sigmoid", "sigma_in": 0.1, "rectify_inputs": True, "train_x0": True},
    {"dynamics": "brainpy", "loss": "squared_error"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("n_hidden", "n_batch"), [(6, 44), (514, 72)])
def test_chunks_that_are_worked_on_at_the_same_desk(n_hidden, n_batch, options):
    """Chunks of two sizes; more threads than the desks are for, and fewer; with what another batch has left there."""
    sizes = {"n_hidden": n_hidden, "n_batch": n_batch, "n_time": 4} | options
    problem, other = make_problem(**sizes), make_problem(**sizes, seed=1)
    model = KernelModel(problem.config, problem.params.dtype)
    chunks, found = kernels.chunk_count(n_batch, n_hidden), set()
    assert n_batch % chunks
    for desks in (1, 2, 3, chunks + 1):
        workspace = make_workspace(problem.config, 4, n_batch, problem.params.dtype, n_threads=desks)
        each = kernels.desk_count(n_hidden, problem.config.penalties.omega > 0)
        assert len(workspace.x) == each * min(desks, chunks)
        for threads in (1, 2, 4):
            with limited(threads):
                step_of(model, workspace, other, made=True)
                runs = [step_of(model, workspace, problem, made) for made in (True, False)]
            found.add(tuple((float(loss).hex(), grads.tobytes()) for loss, grads in runs))
    assert len(found) == 1


@pytest.mark.parametrize("omega", [0, 0.1])
def test_what_two_threads_write_is_far_apart(omega):
    """Nothing is written into the last bytes of a desk, and these are a page."""
    penalties = ei.Penalties(omega=omega, l2_rates=0.1)
    problem = make_problem(n_hidden=514, n_batch=64, n_time=20, dtype="float32", penalties=penalties)
    workspace = make_workspace(problem.config, 20, 64, "float32", n_threads=2)
    given = {name: getattr(workspace, name) for name in DESKS if getattr(workspace, name).size}
    assert set(DESKS) - set(given) == (set() if omega else {"flow", "right"})
    behind = [array.view(np.uint8)[:, -4096:] for array in given.values()]
    for gap in behind:
        gap[...] = 77
    step_of(KernelModel(problem.config, "float32"), workspace, problem, made=True)
    assert all((gap == 77).all() for gap in behind)
