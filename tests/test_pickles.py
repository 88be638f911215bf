"""What pickles hold: weights, and nothing that only training needed."""

from __future__ import annotations

import copy
import gc
import io
import pickle

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS, WRAPPERS, each, fast

from sklearn_repr import AutoencoderTransformer, ReconstructionOutlierDetector

# detectors keep rows, which new ones are compared with
ROWLESS = [e for e in ESTIMATORS if not isinstance(e, ReconstructionOutlierDetector)]


def reloaded(fitted):
    return pickle.loads(pickle.dumps(fitted))  # noqa: S301


def optimizers():
    return [o for o in gc.get_objects() if issubclass(type(o), torch.optim.Optimizer)]


class Tensors(pickle.Pickler):
    """Count the tensors that are pickled as they are, on the device where they lie."""

    n_tensors = 0

    def persistent_id(self, thing):
        self.n_tensors += isinstance(thing, torch.Tensor)


@each([*ESTIMATORS, *WRAPPERS])
def test_a_pickle_holds_no_optimizer_and_its_weights_once(estimator, X):
    fitted = fast(estimator).fit(X)
    net = getattr(fitted, "net_", None) or getattr(
        getattr(fitted, "estimator_", None), "net_", None
    )
    pickled = pickle.dumps(fitted)
    if net is not None:
        module = net.module_
        weights = [*module.parameters(), *module.buffers()]
        n_bytes = sum(w.numel() * w.element_size() for w in weights)
        assert len(pickled) < 1.1 * n_bytes + 2**16
        # skorch moves what it pickles by itself to a device that is there
        counted = Tensors(io.BytesIO())
        counted.dump(net)
        assert counted.n_tensors == 0
    before = len(optimizers())
    restored = pickle.loads(pickled)  # noqa: S301
    assert len(optimizers()) == before
    again = reloaded(restored)
    for name in ("transform", "score_samples"):
        if hasattr(fitted, name):
            expected = getattr(fitted, name)(X)
            np.testing.assert_array_equal(getattr(again, name)(X), expected)


@each(ROWLESS)
def test_a_pickle_does_not_grow_with_the_rows(estimator):
    # of few values, as some estimators keep the values of columns
    rows = np.random.default_rng(0).integers(0, 30, (1400, 5)).astype(float)
    names = estimator.get_params()
    brief = {"max_iter": 1, "max_steps": 1, "early_stopping": False, "batch_size": 700}
    brief = {name: value for name, value in brief.items() if name in names}
    few, many = (
        len(pickle.dumps(fast(estimator).set_params(**brief).fit(part)))
        for part in (rows[:1000], rows)
    )
    assert many < few + 2**10


def test_a_warm_start_keeps_the_optimizer(X):
    fitted = AutoencoderTransformer(2, max_iter=2, warm_start=True).fit(X)
    own = fitted.net_.optimizer_.state_dict()["state"]
    restored = reloaded(fitted)
    found = restored.net_.optimizer_.state_dict()["state"]
    assert own.keys() == found.keys()
    assert own
    for key, state in own.items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(found[key][name]))
    weights = {id(p) for p in restored.net_.module_.parameters()}
    groups = restored.net_.optimizer_.param_groups
    assert {id(p) for group in groups for p in group["params"]} <= weights


@pytest.mark.parametrize("duplicate", [copy.deepcopy, reloaded])
def test_module_and_parameter_stay_one_object_and_a_warm_start_goes_on(duplicate, X):
    fitted = AutoencoderTransformer(2, max_iter=3, random_state=0).fit(X)
    restored = duplicate(fitted)
    assert restored.net_.module is restored.net_.module_
    assert restored.net_.criterion is restored.net_.criterion_
    assert repr(restored.net_) == repr(fitted.net_)
    more = [m.set_params(warm_start=True).fit(X).transform(X) for m in (fitted, restored)]
    np.testing.assert_array_equal(*more)
