"""Batches and trials carry their dt, also where a loop of the user's own hands over arrays alone."""

import gc

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import song2016, timestep

TASK = "ContextDecisionMaking-v0"  # of neurogym's dt, 100 ms, unless it is told


@pytest.fixture(scope="module")
def network():
    config = ei.ModelConfig(n_in=5, n_hidden=7, n_out=3)
    return config, ei.init_params(config)


@pytest.fixture(scope="module")
def batches():
    return ei.make_batches(TASK, 3, 50)


def test_a_batch_of_another_dt_is_refused_wherever_it_goes(network, batches):
    config, params = network
    inputs, labels = next(batches)
    same = ei.ModelConfig(**{**config.to_dict(), "dt": 100, "tau": 150.0})
    before = params.flat.copy()
    for use in (
        lambda c, x: ei.Trainer(c, params.copy()).step(x, labels),
        lambda c, x: ei.GradientTrainer(c, params.copy()).step(x, labels),
        lambda c, x: ei.forward(c, params, x),
        lambda c, x: ei.forward(c, params, x, backend="numpy"),
        lambda c, x: ei.loss_and_grads(c, params, x, labels),
        lambda c, x: ei.check_network(c, params.astype("float64"), x, labels, n_directions=1, n_coordinates=1),
    ):
        for view in (inputs, inputs[:], inputs.reshape(50, 3, 5)):
            with pytest.raises(ValueError, match=r"dt must be the same for network and inputs, found 20 and 100 ms"):
                use(config, view)
        use(same, inputs)
        use(config, inputs.copy())  # what is meant can be said
    np.testing.assert_array_equal(params.flat, before)


@pytest.mark.parametrize("source", ["compiled", "neurogym"])
def test_trials_too(network, source):
    trial = ei.make_trials(TASK, 1, env_kwargs={"dt": 50}, source=source)[0]
    with pytest.raises(ValueError, match="found 20 and 50 ms"):
        ei.forward(*network, trial.inputs[:, None])


def test_trials_side_by_side_have_one_dt(network):
    trials = [ei.make_trials(TASK, 2, env_kwargs={"dt": dt}) for dt in (20, 50)]
    ei.forward(*network, ei.pad_trials(trials[0])[0])
    with pytest.raises(ValueError, match="found 20 and 50 ms"):
        ei.forward(*network, ei.pad_trials(trials[1])[0])
    with pytest.raises(ValueError, match="trials must have one dt, found 20, 50 ms"):
        ei.pad_trials([*trials[0], *trials[1]])
    unknown = [trial._replace(dt=None) for trial in trials[1]]
    ei.forward(*network, ei.pad_trials(unknown)[0])
    with pytest.raises(ValueError, match="found 20 and 50 ms"):  # one that is known is enough
        ei.forward(*network, ei.pad_trials([*unknown, trials[1][0]])[0])


def test_batches_of_the_paper_too():
    task = song2016.task("rdm_dense")
    params = task.init_params(0)
    batch = task.batch(0, 0)
    other = task.at_dt(10.0)
    assert task.config.dt != 10
    with pytest.raises(ValueError, match="dt must be the same for network and inputs, found 10 and"):
        ei.loss_and_grads(other, params, *batch[:2], None, batch[2])
    with pytest.raises(ValueError, match="dt must be the same for network and inputs, found 10 and"):
        ei.train(ei.Trainer(other, params), task.batches(0), 1)


def test_a_worker_says_its_dt_as_well(network):
    from eirnn_np.tasks.worker import WorkerStream

    with WorkerStream((5, 3, 2, 4, 50.0), 0, Zeros) as stream, pytest.raises(ValueError, match="found 20 and 50 ms"):
        ei.forward(*network, next(stream)[0])


class Zeros:
    source = "zeros"

    def skip(self, n):
        pass

    def __iter__(self):
        while True:
            yield np.zeros((4, 2, 5), np.float32), np.zeros((4, 2), np.int64)


def test_what_is_noted_goes_with_its_array(batches):
    next(batches)
    gc.collect()
    before = len(timestep._drawn)
    kept = [next(batches)[0] for _ in range(50)]  # of more than one array
    arrays = {id(batch.base) for batch in kept}
    assert len(arrays) > 2
    assert arrays <= set(timestep._drawn)
    del kept
    gc.collect()
    assert len(timestep._drawn) == before
