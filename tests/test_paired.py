"""PairedEmbedder and its parts: two tables in one space."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import fast
from scipy import sparse
from sklearn.cross_decomposition import CCA
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_repr import PairedEmbedder
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.data import blocks
from sklearn_repr.inspection import retrieval_accuracy
from sklearn_repr.modules.canonical import canonical_maps
from sklearn_repr.modules.paired import unit_rows
from sklearn_repr.objectives import SymmetricInfoNCE, nt_xent, symmetric_info_nce


def shared_latent(n=300, seed=0):
    """Two tables of different widths that see the same two numbers, one of them bent."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1, 1, (n, 2))
    X = np.c_[t @ rng.normal(size=(2, 4)), rng.normal(size=(n, 1))]
    Y = np.c_[np.sin(3 * t[:, 0]), t[:, 0] ** 2, t[:, 1] ** 2, t[:, 1]]
    return X + 0.02 * rng.normal(size=X.shape), Y + 0.02 * rng.normal(size=Y.shape)


@pytest.fixture(scope="module")
def pairs():
    X, Y = shared_latent()
    fitted = PairedEmbedder(8, max_iter=20, random_state=0).fit(X[:200], Y[:200])
    return fitted, X[200:], Y[200:]


# -- the objective -------------------------------------------------------------------


def slow_info_nce(first, second, scale):
    def cosine(a, b):
        return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))

    n = len(first)
    losses = []
    for i in range(n):
        own = math.exp(scale * cosine(first[i], second[i]))
        forth = sum(math.exp(scale * cosine(first[i], second[k])) for k in range(n))
        back = sum(math.exp(scale * cosine(first[k], second[i])) for k in range(n))
        losses.append(-0.5 * math.log(own / forth) - 0.5 * math.log(own / back))
    return losses


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_the_loss_is_its_formula(n, scale):
    torch.manual_seed(n)
    first, second = torch.randn(2, n, 5, dtype=torch.float64)
    got = symmetric_info_nce(first, second, scale)
    np.testing.assert_allclose(got, slow_info_nce(first, second, scale), atol=1e-5)
    torch.testing.assert_close(symmetric_info_nce(second, first, scale), got)
    rows = torch.linspace(0.1, 9, n, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(
        symmetric_info_nce(rows * first, second / rows, scale), got
    )
    both = torch.cat([first, second])
    log_scale = torch.tensor(scale, dtype=torch.float64).log()
    outputs = Outputs(first, projection=both, log_scale=log_scale)
    terms = SymmetricInfoNCE().terms(outputs, Batch(first))
    torch.testing.assert_close(terms["info_nce"], got)


def test_known_values_of_the_loss():
    same = torch.ones(6, 3)
    collapsed = symmetric_info_nce(same, torch.randn(1, 3).expand(6, 3), 10.0)
    np.testing.assert_allclose(collapsed, math.log(6), rtol=1e-6)
    one = torch.randn(1, 3)
    assert symmetric_info_nce(one, -one, 100.0).tolist() == [0.0]
    eye = torch.eye(4)
    assert float(symmetric_info_nce(eye, eye, 100.0).max()) < 1e-6
    # nearly opposite, at the largest scale: no overflow, no NaN for rows of zeros
    assert torch.isfinite(symmetric_info_nce(eye, -eye, 100.0)).all()
    zeros = torch.zeros(3, 2, requires_grad=True)
    symmetric_info_nce(zeros, torch.zeros(3, 2), 10.0).sum().backward()
    assert torch.isfinite(zeros.grad).all()
    # unlike NT-Xent, rows of the same side repel nobody
    first, second = torch.randn(2, 5, 3)
    assert not torch.allclose(
        symmetric_info_nce(first, second, 2.0), nt_xent(first, second, 0.5)
    )


def test_what_the_objective_needs_is_said():
    outputs = Outputs(torch.ones(2, 3), projection=torch.ones(4, 3))
    with pytest.raises(ValueError, match="log_scale"):
        SymmetricInfoNCE().terms(outputs, Batch(torch.ones(2, 3)))


def test_unit_rows_have_unit_length_however_long_they_were():
    z = torch.randn(6, 4) * torch.logspace(-30, 30, 6).unsqueeze(1)
    lengths = unit_rows(z).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(6))
    assert (unit_rows(torch.zeros(2, 4)) == 0).all()
    rows = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, rows)


# -- the start -----------------------------------------------------------------------


def test_canonical_maps_are_those_of_cca():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(5000, 2))
    X = np.c_[t + 0.5 * rng.normal(size=t.shape), rng.normal(size=(5000, 2))]
    X = X @ rng.normal(size=(4, 4))
    Y = (t + [[0.3, 1.0]] * rng.normal(size=t.shape)) @ rng.normal(size=(2, 2))
    torch.manual_seed(0)
    maps = canonical_maps(torch.tensor(X) + 7, torch.tensor(Y), 3)
    u, v = CCA(2, max_iter=2000, tol=1e-12).fit_transform(X, Y)
    expected = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(maps.correlations, expected, atol=0.02)
    found = np.asarray(maps.correlations)
    weights = np.sqrt(found / (1 - found**2))
    for (weight, mean), table, theirs in ((maps.first, X + 7, u), (maps.second, Y, v)):
        ours = (table - np.asarray(mean)) @ np.asarray(weight).T
        np.testing.assert_allclose(ours[:, :2].std(axis=0), weights, rtol=0.02)
        for i in range(2):
            assert abs(np.corrcoef(ours[:, i], theirs[:, i])[0, 1]) > 0.98
        # the third direction is there for gradients only
        assert 0 < ours[:, 2].std() < 0.3


def test_without_correlation_there_is_no_canonical_start():
    x = torch.randn(100, 3)
    assert canonical_maps(x, torch.ones(100, 2), 2) is None
    assert canonical_maps(x[:10], x[:10], 2) is None


def test_the_start_is_epoch_zero_and_a_linear_network_keeps_to_it():
    X, Y = shared_latent(400)
    start = PairedEmbedder(
        2, hidden_layer_sizes=(), max_iter=1, learning_rate_init=1e-9, random_state=0
    )
    start.fit(X[:300], Y[:300])
    u, v = CCA(2).fit(X[:300], Y[:300]).transform(X[300:], Y[300:])
    assert start.score(X[300:], Y[300:]) > 0.8 * retrieval_accuracy(u, v)
    random = start.set_params(init=None).fit(X[:300], Y[:300])
    assert random.score(X[300:], Y[300:]) < 0.5 * retrieval_accuracy(u, v)


# -- learning ------------------------------------------------------------------------


def test_held_out_halves_of_digits_find_each_other_more_often_than_by_cca():
    X = load_digits().data
    train, test = train_test_split(X, test_size=0.2, random_state=0)
    upper, lower = test[:, :32], test[:, 32:]
    embedder = PairedEmbedder(32, max_iter=30, random_state=0)
    ours = embedder.fit(train[:, :32], train[:, 32:]).score(upper, lower)
    theirs = []
    keep = [train[:, :32].std(axis=0) > 0, train[:, 32:].std(axis=0) > 0]
    for k in (8, 12, 16, 20):
        cca = CCA(k).fit(train[:, :32][:, keep[0]], train[:, 32:][:, keep[1]])
        sides = cca.transform(upper[:, keep[0]], lower[:, keep[1]])
        theirs.append(retrieval_accuracy(*sides))
    assert ours > 1.5 * max(theirs)
    assert embedder.loss_curve_[-1] < 0.6 * embedder.loss_curve_[0]


@pytest.mark.parametrize("init", ["cca", None])
def test_what_no_linear_map_can_find_is_learned(init):
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, (800, 1))
    X = np.c_[t, rng.normal(size=(800, 1))]
    Y = np.c_[np.cos(6 * t), t**2] + 0.01 * rng.normal(size=(800, 2))
    embedder = PairedEmbedder(8, init=init, max_iter=60, random_state=0)
    score = embedder.fit(X[:600], Y[:600]).score(X[600:], Y[600:])
    assert score > 6 / 200  # chance is 1 / 200


def test_shuffled_partners_teach_nothing():
    X, Y = shared_latent(500)
    order = np.random.default_rng(0).permutation(400)
    embedder = PairedEmbedder(8, max_iter=20, random_state=0)
    assert embedder.fit(X[:400], Y[:400]).score(X[400:], Y[400:]) > 0.2
    assert embedder.fit(X[:400], Y[:400][order]).score(X[400:], Y[400:]) < 0.06


def test_the_temperature_is_learned_and_bounded():
    X, _ = shared_latent()
    fitted = PairedEmbedder(8, max_iter=40, learning_rate_init=0.05, random_state=0)
    scale = fitted.fit(X, X).net_.module_.log_scale
    assert scale.item() <= math.log(100) * (1 + 1e-6)
    once = PairedEmbedder(8, init=None, max_iter=1, early_stopping=False, random_state=0)
    assert once.fit(X, X).net_.module_.log_scale.item() != pytest.approx(-math.log(0.07))
    module = fitted.net_.module_
    with torch.no_grad():
        module.log_scale.fill_(9.0)
    module.after_step()
    assert module.log_scale.exp().item() == pytest.approx(100)


def test_a_warm_start_goes_on():
    X, Y = shared_latent()
    embedder = PairedEmbedder(4, max_iter=5, warm_start=True, random_state=0).fit(X, Y)
    before = embedder.loss_curve_[-1]
    scale = embedder.net_.module_.log_scale.item()
    embedder.set_params(max_iter=1, learning_rate_init=1e-9).fit(X, Y)
    assert embedder.net_.module_.log_scale.item() == pytest.approx(scale)
    assert embedder.loss_curve_[-1] == pytest.approx(before, rel=0.2)
    with pytest.raises(ValueError, match="init was 'cca'"):
        embedder.set_params(init=None).fit(X, Y)


# -- the interface -------------------------------------------------------------------


def test_the_convention_is_that_of_cca(pairs):
    fitted, X, Y = pairs
    alone, both = fitted.transform(X), fitted.transform(X, Y)
    assert isinstance(both, tuple)
    np.testing.assert_array_equal(alone, both[0])
    np.testing.assert_array_equal(fitted.transform_y(Y), both[1])
    for Z in both:
        np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, rtol=1e-5)
    assert fitted.score(X, Y) == retrieval_accuracy(*both)
    Z = fast(fitted).fit_transform(X, Y)
    np.testing.assert_array_equal(Z, fast(fitted).fit(X, Y).transform(X))


def test_one_dimension_is_one_column():
    X, Y = shared_latent()
    flat = fast(PairedEmbedder(4)).fit(X, Y[:, 3])
    column = fast(PairedEmbedder(4)).fit(X, Y[:, 3:])
    np.testing.assert_array_equal(flat.transform(X), column.transform(X))
    np.testing.assert_array_equal(flat.transform_y(Y[:, 3]), column.transform_y(Y[:, 3:]))
    assert flat.n_y_features_in_ == 1
    assert flat.score(X, Y[:, 3]) > 3 / len(X)


def test_containers_of_the_second_side(pairs):
    X, Y = shared_latent()
    Y = np.round(Y, 3)
    expected = fast(PairedEmbedder(4)).fit(X, Y).transform_y(Y)
    frame = pd.DataFrame(Y, columns=list("abcd"), index=np.arange(len(Y)) + 9)
    for other in (frame, sparse.csr_array(Y), Y.tolist(), np.asfortranarray(Y)):
        fitted = fast(PairedEmbedder(4)).fit(X, other)
        np.testing.assert_array_equal(fitted.transform_y(other), expected)
    fitted = fast(PairedEmbedder(4)).set_output(transform="pandas").fit(X, frame)
    assert list(fitted.y_feature_names_in_) == list("abcd")
    for out in (fitted.transform_y(frame), fitted.transform(X, frame)[1]):
        assert list(out.columns) == list(fitted.get_feature_names_out())
        assert list(out.index) == list(frame.index)
    assert fitted.transform_y(frame.astype(np.float32)).to_numpy().dtype == np.float32
    with pytest.raises(ValueError, match=r"feature names of y should match.*'b'"):
        fitted.transform(X, frame[list("badc")])
    assert not hasattr(fitted.fit(X, Y), "y_feature_names_in_")


def test_bad_partners_are_named_and_the_fit_survives(pairs):
    fitted, X, Y = pairs
    before = fitted.transform_y(Y)
    big = Y.copy()
    big[2, 0] = 1e39
    cases = {
        "requires y to be passed": None,
        r"Input y contains a value too large.*column number 0 \(row 2\)": big,
        "inconsistent numbers of samples": Y[:-1],
        "could not convert string": np.full(len(X), "red"),
    }
    for message, other in cases.items():
        with pytest.raises(ValueError, match=message):
            fitted.fit(X, other)
    with pytest.raises(ValueError, match="y has 3 features, but PairedEmbedder is exp"):
        fitted.transform(X, Y[:, :3])
    with pytest.raises(ValueError, match="X has 4 features"):
        fitted.transform(X[:, :4], Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.score(X, Y[:-1])
    np.testing.assert_array_equal(fitted.transform_y(Y), before)
    for name, args in {"transform_y": (Y,), "score": (X, Y), "transform": (X, Y)}.items():
        with pytest.raises(NotFittedError):
            getattr(PairedEmbedder(), name)(*args)


def test_neighbours_on_the_other_side(pairs):
    fitted, X, Y = pairs
    u, v = fitted.transform(X, Y)
    cosines = u @ v.T
    distances, indices = fitted.kneighbors(X, gallery=Y, n_neighbors=3)
    np.testing.assert_array_equal(indices[:, 0], cosines.argmax(axis=1))
    closest = np.sort(1 - cosines, axis=1)[:, :3]
    np.testing.assert_allclose(distances, closest, atol=1e-6)
    back = fitted.kneighbors(y=Y[:7], gallery=X, return_distance=False)
    assert back.shape == (7, 5)
    np.testing.assert_array_equal(back[:, 0], cosines.argmax(axis=0)[:7])
    forth = np.mean(indices[:, 0] == np.arange(len(X)))
    whole = fitted.kneighbors(y=Y, gallery=X, n_neighbors=1, return_distance=False)
    assert fitted.score(X, Y) == (forth + np.mean(whole[:, 0] == np.arange(len(X)))) / 2
    for sides, got in (((None, None), "neither"), ((X, Y), "both")):
        with pytest.raises(ValueError, match=f"either X or y.*got {got}"):
            fitted.kneighbors(*sides, gallery=Y)
    with pytest.raises(ValueError, match="Expected n_neighbors <= n_samples"):
        fitted.kneighbors(X, gallery=Y[:3])


def test_neither_rows_nor_partners_are_kept(pairs):
    X, Y = shared_latent()
    embedder = fast(PairedEmbedder(4, hidden_layer_sizes=4))
    few = len(pickle.dumps(embedder.fit(X, Y)))
    many = len(pickle.dumps(embedder.fit(np.tile(X, (20, 1)), np.tile(Y, (20, 1)))))
    assert many < 1.2 * few
    loaded = pickle.loads(pickle.dumps(embedder))  # noqa: S301
    np.testing.assert_array_equal(loaded.transform_y(Y), embedder.transform_y(Y))


def test_a_partner_alone_is_as_in_any_batch(pairs):
    fitted, _, Y = pairs
    together = fitted.transform_y(Y)
    for i in (0, 1, 50, 99):
        np.testing.assert_array_equal(fitted.transform_y(Y[i : i + 1])[0], together[i])


def test_large_tables_are_read_in_blocks(monkeypatch):
    X, Y = shared_latent(600)
    embedder = fast(PairedEmbedder(4))
    small = embedder.fit(X, Y).score(X, Y)
    for name, value in {"POOL": 2**12, "BLOCK": 2**10, "FEWEST_ROWS": 64}.items():
        monkeypatch.setattr(blocks, name, value)
    for kept in (blocks.KEPT, 0):  # encoded once, and whenever they are read
        monkeypatch.setattr(blocks, "KEPT", kept)
        first = embedder.fit(X, Y).transform_y(Y)
        assert embedder.score(X, Y) > 0.5 * small
        embedder.fit(sparse.csr_array(X), sparse.csr_array(Y))
        np.testing.assert_array_equal(embedder.transform_y(Y), first)


class Overwriting(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.layer = nn.Linear(n_features, n_components)

    def forward(self, x):
        return self.layer(x if self.training else x.mul_(2))


def test_rows_are_not_lent_to_a_users_module():
    X, Y = (side.astype(np.float32) for side in shared_latent())
    for side in ("architecture", "y_architecture"):
        embedder = fast(PairedEmbedder(4, scaling=None, **{side: Overwriting}))
        copies = X.copy(), Y.copy()
        embedder.fit(X, Y).transform(X, Y)
        np.testing.assert_array_equal(X, copies[0])
        np.testing.assert_array_equal(Y, copies[1])


class Bent(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, n_components), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


def test_either_side_has_an_architecture_of_its_own():
    X = load_digits().data[:200]
    rows = {"upper": X[:, :32], "lower": X[:, 32:], "few": X[:, 20:27]}
    conv = {"architecture": "conv", "input_shape": (1, 4, 8), "hidden_layer_sizes": (4,)}
    for settings, sides in (
        (conv, ("upper", "lower")),
        ({**conv, "y_architecture": "mlp"}, ("upper", "few")),
        ({**conv, "y_input_shape": (7, 1, 1)}, ("upper", "few")),
        ({"architecture": Bent}, ("upper", "few")),
        ({"y_architecture": Bent}, ("upper", "few")),
    ):
        fitted = fast(PairedEmbedder(4, **settings)).fit(*(rows[s] for s in sides))
        assert np.isfinite(fitted.transform(*(rows[s] for s in sides))).all()
    with pytest.raises(ValueError, match=r"input_shape=\(1, 4, 8\) does not fit"):
        fast(PairedEmbedder(4, **conv)).fit(rows["upper"], rows["few"])


def test_it_stands_in_pipelines_and_searches():
    X, Y = shared_latent()
    labels = (X[:, 0] > 0).astype(int)
    model = make_pipeline(fast(PairedEmbedder(4)), LogisticRegression())
    assert model.fit(X, labels).score(X, labels) > 0.9
    search = GridSearchCV(fast(PairedEmbedder()), {"n_components": [1, 4]}, cv=3)
    assert search.fit(X, Y).best_params_ == {"n_components": 4}


def test_a_single_component_is_a_sign_that_nothing_trains():
    X, Y = shared_latent()
    with pytest.warns(ConvergenceWarning, match="found nothing"):
        fitted = fast(PairedEmbedder(1)).fit(X, Y)
    Z, W = fitted.transform(X, Y)
    assert set(np.unique(Z)) | set(np.unique(W)) <= {-1.0, 1.0}
    assert (Z == W).mean() > 0.6  # partners fall on the same side
    canonical = CCA(1).fit(X, Y).transform(X)
    assert abs(np.mean(np.sign(canonical) == Z) - 0.5) > 0.4


# -- retrieval accuracy --------------------------------------------------------------


def test_retrieval_accuracy_is_its_formula():
    rng = np.random.default_rng(0)
    U = rng.normal(size=(1500, 3))
    V = U + 0.05 * rng.normal(size=U.shape)
    unit = [Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (U, V)]
    cosines = unit[0] @ unit[1].T
    own = np.arange(len(U))
    forth, back = (cosines.argmax(axis=1) == own), (cosines.argmax(axis=0) == own)
    expected = (forth.mean() + back.mean()) / 2
    assert retrieval_accuracy(U, V) == pytest.approx(expected)
    assert retrieval_accuracy(5 * U, V * rng.uniform(1, 2, (1500, 1))) == pytest.approx(
        expected
    )
    assert retrieval_accuracy(U, U) == 1.0
    assert retrieval_accuracy(np.ones((8, 2)), np.ones((8, 2))) == pytest.approx(1 / 8)
    assert retrieval_accuracy(np.zeros((4, 2)), U[:4, :2]) == pytest.approx(1 / 4)
    with pytest.raises(ValueError, match=r"shapes \(1500, 3\) and \(1500, 2\)"):
        retrieval_accuracy(U, V[:, :2])
