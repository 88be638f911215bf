"""The default of the contrastive embedder on tables, piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fast
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_repr import ContrastiveEmbedder
from sklearn_repr.engine.schedule import one_cycle


class Rates(Callback):
    """Collect the learning rate of every step."""

    def on_train_begin(self, net, **kwargs):
        self.rates_ = []

    def on_batch_end(self, net, training=False, **kwargs):
        self.rates_.append(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_learning_rate_runs_through_one_cycle(optimizer, X):
    estimator = fast(ContrastiveEmbedder(batch_size=50, callbacks=[("rates", Rates())]))
    fitted = estimator.set_params(optimizer=optimizer, learning_rate_init=1e-3).fit(X)
    rates = dict(fitted.net_.callbacks_)["rates"].rates_
    assert rates == pytest.approx([1e-3 * one_cycle(i, 24) for i in range(24)])
    assert max(rates) == pytest.approx(1e-3, rel=0.05)


def test_a_constant_learning_rate_stays(X):
    estimator = fast(ContrastiveEmbedder(learning_rate="constant"))
    fitted = estimator.set_params(callbacks=[("rates", Rates())]).fit(X)
    assert set(dict(fitted.net_.callbacks_)["rates"].rates_) == {0.003}


def test_the_cycle_is_run_whatever_the_loss_does(X):
    # noise this strong leaves nothing to learn: patience would end it after 2 epochs
    settings = {"views": ["gaussian"], "corruption_level": 1e3, "max_iter": 30}
    estimator = fast(ContrastiveEmbedder(early_stopping=True)).set_params(**settings)
    assert estimator.fit(X).n_iter_ == 30
    estimator.set_params(learning_rate="constant", n_iter_no_change=1, tol=1e3)
    assert estimator.fit(X).n_iter_ < 5


@pytest.mark.parametrize(
    ("max_iter", "max_steps", "epochs"),
    [
        *[(50, 60, 20), (50, 61, 21), (15, 60, 15), (50, 3, 5), (4, 3, 4)],
        *[(12, None, 12), (None, 60, 20), (None, None, 100), (None, "auto", 100)],
    ],
)
def test_steps_are_counted_in_whole_epochs(max_iter, max_steps, epochs, X):
    # 133 rows are three batches
    estimator = ContrastiveEmbedder(
        2, hidden_layer_sizes=(4,), batch_size=50, max_iter=max_iter, max_steps=max_steps
    )
    assert estimator.fit(X).n_iter_ == epochs
    if max_steps == 60:
        # no more epochs than rows
        assert estimator.fit(X[:12]).n_iter_ == 12


def test_a_number_of_epochs_that_is_given_is_the_number_trained(X):
    # 66 steps an epoch: 800 steps would be 13 epochs
    estimator = ContrastiveEmbedder(2, hidden_layer_sizes=(4,), batch_size=2)
    assert estimator.fit(X).n_iter_ == 13
    assert estimator.set_params(max_iter=20).fit(X).n_iter_ == 20


def test_both_terms_reach_the_encoder(X):
    fitted = fast(ContrastiveEmbedder(4, batch_size=8)).fit(X)
    module, objective = fitted.net_.module_, fitted.net_.criterion_
    assert objective.weights["reconstruction"] == pytest.approx(1 / X.shape[1])
    batch = fitted._codec.encode(X)
    views = torch.cat([batch.values, batch.values + 0.1])
    with torch.enable_grad():
        terms = objective.terms(module(views), batch)
    assert set(terms) == {"nt_xent", "reconstruction"}
    for term in terms.values():
        module.zero_grad()
        term.mean().backward(retain_graph=True)
        assert all(p.grad.abs().sum() > 0 for p in module.encoder.parameters())


def test_the_reconstruction_is_of_the_clean_row_from_either_view(X):
    fitted = fast(ContrastiveEmbedder(4)).fit(X)
    module, objective = fitted.net_.module_, fitted.net_.criterion_
    batch = fitted._codec.encode(X)
    noise = torch.randn(len(X), X.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        term = objective.terms(
            module(torch.cat([batch.values, batch.values + noise])), batch
        )["reconstruction"]
        rows = []
        for i, row in enumerate(batch.values):
            views = torch.stack([row, row + noise[i]])
            rebuilt = module.decoder(module.encoder(views))
            rows.append((rebuilt - row).square().sum(dim=1).mean())
    torch.testing.assert_close(term, torch.stack(rows), rtol=1e-4, atol=1e-5)


def test_without_reconstruction_there_is_no_decoder(X):
    fitted = fast(ContrastiveEmbedder(4, reconstruction_weight=0)).fit(X)
    assert fitted.net_.module_.decoder is None
    assert set(fitted.loss_terms_) == {"train_nt_xent"}


def test_transform_is_a_turn_of_the_pca_of_all_hidden_layers(X):
    fitted = fast(ContrastiveEmbedder(10, normalize=False, dtype="float64")).fit(X)
    module, rows = fitted.net_.module_, fitted._codec.encode(X).values
    with torch.no_grad():
        blocks, h = [], rows
        for layer in module.encoder:
            h = layer(h)
            if isinstance(layer, torch.nn.ReLU):
                blocks.append(h.sqrt().numpy())
    assert len(blocks) == 3
    scaled = [block / np.sqrt(block.var(axis=0).sum()) for block in blocks]
    scores = PCA(10).fit_transform(np.hstack(scaled))
    Z = fitted.transform(X)
    np.testing.assert_allclose(Z @ Z.T, scores @ scores.T, atol=1e-6)
    np.testing.assert_allclose(Z.var(axis=0), Z.var(axis=0).mean())


def test_embeddings_have_unit_length(X):
    Z = fast(ContrastiveEmbedder(dtype="float64")).fit(X).transform(X)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1)


@pytest.mark.parametrize("n", [2, 3, 31])
def test_more_components_than_rows(n, X):
    Z = fast(ContrastiveEmbedder()).fit(X[:n]).transform(X)
    assert Z.shape == (len(X), 128)
    assert np.isfinite(Z).all()


def test_readouts_by_architecture(X):
    last = fast(ContrastiveEmbedder(3, readout="last", normalize=False)).fit(X)
    assert last.net_.module_.readout is None
    rows = last._codec.encode(X).values
    with torch.no_grad():
        by_hand = last.net_.module_.encoder(rows).numpy()
    np.testing.assert_allclose(last.transform(X), by_hand, rtol=1e-4, atol=1e-5)
    own = fast(
        ContrastiveEmbedder(
            3, architecture=lambda n_features, n_components: torch.nn.Linear(5, 3)
        )
    )
    assert own.fit(X).net_.module_.readout is None
    with pytest.raises(ValueError, match="readout='layers' needs architecture='mlp'"):
        own.set_params(readout="layers").fit(X)


def test_pairs_by_architecture_and_objective():
    assert ContrastiveEmbedder()._pairing() == "neighbors"
    assert ContrastiveEmbedder(objective="supcon")._pairing() == "row"
    assert ContrastiveEmbedder(architecture="conv")._pairing() == "row"
    assert ContrastiveEmbedder(architecture="conv", pairs="time")._pairing() == "time"


def test_a_warm_start_keeps_the_decoder(X):
    fitted = fast(ContrastiveEmbedder(4, warm_start=True)).fit(X)
    before = fitted.transform(X)
    assert fitted.fit(X).n_iter_ == 16
    assert not np.allclose(fitted.transform(X), before)
    with pytest.raises(ValueError, match="reconstruction_weight"):
        fitted.set_params(reconstruction_weight=0).fit(X)


def test_one_label_a_class_goes_further_than_on_raw_columns():
    X, y = load_digits(return_X_y=True)
    train, test = slice(0, 700), slice(700, None)
    scaler = StandardScaler().fit(X[train])
    raw = scaler.transform(X)
    Z = ContrastiveEmbedder(max_steps=200, random_state=0).fit(X[train]).transform(X)

    def accuracy(rows):
        scores = []
        for draw in range(10):
            rng = np.random.default_rng(draw)
            few = [rng.choice(np.flatnonzero(y[train] == c)) for c in range(10)]
            nearest = KNeighborsClassifier(1).fit(rows[few], y[few])
            scores.append(nearest.score(rows[test], y[test]))
        return np.mean(scores)

    assert accuracy(Z) > accuracy(raw) + 0.05


def test_a_scaler_behind_the_embedder_keeps_distances(X):
    Z = fast(ContrastiveEmbedder(normalize=False, dtype="float64")).fit(X).transform(X)
    before = pairwise_distances(Z)
    after = pairwise_distances(StandardScaler().fit_transform(Z))
    apart = before > 1e-9
    np.testing.assert_allclose(after[apart] / before[apart], after[0, 1] / before[0, 1])
