"""JointEmbeddingPredictor and its parts: what is hidden, what is predicted."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from conftest import fast
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_repr import CollapseWarning, JointEmbeddingPredictor
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.corruptions import MaskedAndWhole, MaskedBlocks
from sklearn_repr.inspection import knn_probe_score
from sklearn_repr.modules.jepa import make_joint_embedding_network
from sklearn_repr.objectives import JointEmbedding
from sklearn_repr.objectives.predicted_tokens import EMBEDDING_LOSSES, hidden_tokens_loss
from sklearn_repr.objectives.vicreg import variance_hinge
from sklearn_repr.utils.randomness import make_generator

NAN = float("nan")


def network(patches=4, momentum=0.9):
    torch.manual_seed(0)
    return make_joint_embedding_network(
        np.arange(patches),
        3,
        width=16,
        depth=2,
        activation=nn.SiLU,
        dropout=0.0,
        momentum=momentum,
        n_steps=None,
    )


def views(n=6, d=4):
    torch.manual_seed(1)
    rows = torch.randn(n, d)
    return MaskedAndWhole((0.2, 0.7), np.arange(d))(rows, make_generator(0)).values


def planted(shared, n=500):
    """Rows of four classes, of which every column tells a little, or none."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, n)
    latent = 1.5 * rng.normal(size=(4, 3))[classes] + 0.3 * rng.normal(size=(n, 3))
    X = np.tanh(latent @ rng.normal(size=(3, 10))) + 0.4 * rng.normal(size=(n, 10))
    if not shared:
        X = np.column_stack([rng.permutation(column) for column in X.T])
    return X, classes


# -- the objective -------------------------------------------------------------------


@pytest.mark.parametrize("loss", list(EMBEDDING_LOSSES))
def test_the_loss_is_its_formula(loss):
    torch.manual_seed(0)
    prediction = 2 * torch.randn(5, 3, 4, dtype=torch.float64)
    target = torch.randn(5, 3, 4, dtype=torch.float64)
    hidden = torch.rand(5, 3) < 0.5
    hidden[0], hidden[1] = False, True
    target[~hidden] = NAN
    prediction.requires_grad_()
    got = hidden_tokens_loss(prediction, target, loss)
    for i in range(5):
        total, count = 0.0, 0
        for t in range(3):
            if hidden[i, t]:
                for j in range(4):
                    r = abs(float(prediction[i, t, j].detach() - target[i, t, j]))
                    smooth = r * r / 2 if r < 1 else r - 0.5
                    total += smooth if loss == "smooth_l1" else r * r
                    count += 1
        assert float(got[i].detach()) == pytest.approx(total / max(count, 1), abs=1e-5)
    got.sum().backward()
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad[~hidden] == 0).all()
    assert (prediction.grad[hidden] != 0).all()


def test_the_guard_is_the_variance_term_of_vicreg():
    z = torch.randn(6, 4)
    outputs = Outputs(z, prediction=torch.ones(6, 2, 4), target=torch.ones(6, 2, 4))
    terms = JointEmbedding(variance_weight=0.5).terms(outputs, Batch(z))
    assert terms["variance"] == variance_hinge(z)
    assert (terms["prediction"] == 0).all()
    assert list(JointEmbedding().terms(outputs, Batch(z))) == ["prediction"]
    with pytest.raises(ValueError, match="needs predicted tokens"):
        JointEmbedding().terms(Outputs(z), Batch(z))


# -- the network ---------------------------------------------------------------------


def test_rows_with_hidden_patches_stand_beside_themselves():
    patches = np.array([0, 0, 1, 2, 2])
    rows = torch.randn(20, 5)
    values, mask = MaskedAndWhole(0.5, patches)(rows, make_generator(0))
    hidden, clean = values.chunk(2, dim=1)
    assert torch.equal(clean, rows)
    assert torch.equal(hidden.isnan(), mask)
    assert torch.equal(hidden[~mask], rows[~mask])


def test_the_context_never_sees_what_is_hidden():
    net, rows = network(), views()
    hidden = rows[:, :4].isnan()
    before = net(rows)
    moved = rows.clone()
    moved[:, 4:][hidden] = 99.0
    after = net(moved)
    assert torch.equal(before.embedding, after.embedding)
    assert torch.equal(before.prediction, after.prediction)
    assert not torch.equal(before.target.nan_to_num(), after.target.nan_to_num())
    # what stands in a hidden token reaches no visible one
    tokens = net.encoder.tokens
    cells = rows[:, :4].nan_to_num()
    visible = (~hidden).float()
    first = tokens.tokens(cells, visible, hidden)
    second = tokens.tokens(cells + 7 * hidden, visible, hidden)
    gather = torch.ones(6, first.shape[1] - 4, dtype=torch.bool)
    shown = torch.cat([gather, ~hidden], dim=1)
    assert torch.equal(first[shown], second[shown])
    assert not torch.equal(first[~shown], second[~shown])


def test_targets_are_standardised_and_only_where_something_is_hidden():
    rows = views()
    net = network()
    target = net(rows).target
    hidden = rows[:, :4].isnan()
    assert torch.equal(target.isnan().all(dim=2), ~hidden)
    tokens = net.target(rows[:, 4:])[1].double()
    for t in range(4):
        centred = tokens[:, t] - sum(tokens[i, t] for i in range(6)) / 6
        spread = sum(float(c) ** 2 for c in centred.flatten()) / centred.numel()
        expected = centred / (spread**0.5 + 0.001)
        torch.testing.assert_close(
            target[hidden[:, t], t].double(), expected[hidden[:, t]], rtol=1e-4, atol=1e-5
        )
    same = rows[:1].expand(5, -1)  # and a batch of one
    for few in (same, same[:1]):
        assert net(few).target.nan_to_num().abs().max() < 1e-3


def test_the_predictor_is_told_where_and_nothing_but_the_code():
    net, rows = network(), views()
    prediction = net(rows).prediction
    for i in range(1, 4):
        assert not torch.allclose(prediction[:, 0], prediction[:, i])
    code, _ = net.encoder(rows[:, :4])
    assert code.shape == (6, 64)
    torch.testing.assert_close(net.predictor(code), prediction)
    assert torch.equal(net(rows).embedding, code)


def test_no_gradient_reaches_the_target_which_moves_as_an_average():
    net, rows = network(momentum=0.9), views()
    assert not [name for name, _ in net.named_parameters() if "target" in name]
    outputs = net(rows)
    assert outputs.prediction.requires_grad
    assert not outputs.target.requires_grad
    losses = JointEmbedding().terms(outputs, Batch(rows[:, 4:]))["prediction"]
    losses.mean().backward()
    before = copy.deepcopy(net.target.module.state_dict())
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    net.after_step()
    for name, value in net.target.module.named_buffers():
        if name in dict(net.encoder.named_parameters()):
            now = dict(net.encoder.named_parameters())[name]
            torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * now)
            assert not torch.equal(value, before[name])


# -- the estimator -------------------------------------------------------------------


def unexplained(fitted, X):
    """Squared error of predictions, of that of the mean token of every position."""
    module = fitted.net_.module_
    rows = fitted._codec.encode(X).values
    patches = np.arange(rows.shape[1])
    seen = MaskedAndWhole(0.3, patches)(rows, make_generator(0)).values
    with torch.no_grad():
        outputs = module(seen)
        target = outputs.target
        error = (outputs.prediction - target).square().nansum()
        centred = target - target.nanmean(dim=0)
    return float(error / centred.square().nansum())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hidden_tokens_are_predicted_from_the_visible_if_they_can_be():
    shares = {}
    for shared in (True, False):
        X, _ = planted(shared)
        model = JointEmbeddingPredictor(
            8, max_iter=40, learning_rate_init=3e-3, random_state=0
        ).fit(X[:400])
        shares[shared] = unexplained(model, X[400:])
        if shared:  # what nothing predicts keeps its variance
            assert model.loss_curve_[-1] < 0.75 * model.loss_curve_[0]
    assert shares[True] < 0.8
    assert shares[True] < shares[False] - 0.1


def test_a_probe_finds_classes_that_columns_share():
    X, classes = planted(True)
    Z = JointEmbeddingPredictor(8, max_iter=15, random_state=0).fit_transform(X)
    assert knn_probe_score(Z, classes) > 0.8


def test_a_collapse_is_warned_of_and_the_defaults_do_not():
    X, _ = planted(True)
    forced = JointEmbeddingPredictor(
        max_iter=20,
        target_momentum=0.0,
        learning_rate="constant",
        learning_rate_init=0.1,
        random_state=0,
    )
    with pytest.warns(CollapseWarning, match=r"varies? (from row to row|along)"):
        forced.fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guarded = JointEmbeddingPredictor(max_iter=15, random_state=0)
        guarded.fit(X)


def test_the_embedding_is_row_tokens_and_code_alike_and_turned(X):
    fitted = fast(JointEmbeddingPredictor(300)).fit(X)
    module = fitted.net_.module_
    rows = fitted._codec.encode(X).values
    with torch.no_grad():
        tokens = module.target(rows)[1].flatten(1)
        code, _ = module.encoder(rows)
    blocks = [block.double().numpy() for block in (rows, tokens, code)]
    blocks = [block / np.sqrt(block.var(axis=0).sum()) for block in blocks]
    joined = np.concatenate(blocks, axis=1)
    Z = fitted.transform(X)
    assert Z.shape == (133, 300)
    # all is there: distances are those of the blocks
    np.testing.assert_allclose(pdist(Z), pdist(joined), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(Z.var(axis=0), 3 / 300, rtol=1e-3)
    # few components are the first principal ones, of equal variance as well
    few = fast(JointEmbeddingPredictor(4)).fit(X).transform(X)
    best = PCA(4, svd_solver="full").fit_transform(joined)
    np.testing.assert_allclose(pdist(few), pdist(best), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(few.var(axis=0), best.var(axis=0).mean(), rtol=1e-3)


def noisy_views(n=800, k=2, d=24):
    """Rows of eight classes, and noisy waves along directions of their few latents."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 8, n)
    latent = rng.normal(size=(8, k))[classes] + 0.25 * rng.normal(size=(n, k))
    directions, phases = rng.normal(size=(k, d)), rng.uniform(0, 6.28, size=d)
    X = np.sin(latent @ directions + phases) + 0.9 * rng.normal(size=(n, d))
    return X, classes


def few_labels(Z, classes, probe):
    """Mean accuracy of a probe with five labels a class, over eight choices of them."""
    Z = Z - Z.mean(axis=0)
    Z = np.sqrt(20 / np.square(Z).sum(axis=1).mean()) * Z
    scores = []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(len(Z))
        train = np.concatenate([order[classes[order] == c][:5] for c in range(8)])
        rest = np.setdiff1d(order, train)
        fitted = probe.fit(Z[train], classes[train])
        scores.append(fitted.score(Z[rest], classes[rest]))
    return np.mean(scores)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_training_helps_probes_with_few_labels():
    X, classes = noisy_views()
    scaled = StandardScaler().fit_transform(X)
    still = JointEmbeddingPredictor(learning_rate_init=1e-9, max_iter=1, random_state=0)
    untrained = still.fit_transform(X)
    trained = JointEmbeddingPredictor(max_iter=40, random_state=0).fit_transform(X)
    for probe, gain in (
        (LogisticRegression(max_iter=500), 2),
        (KNeighborsClassifier(3), 5),
    ):
        score = few_labels(trained, classes, probe)
        for other in (untrained, scaled):
            assert 100 * (score - few_labels(other, classes, probe)) > gain


@pytest.mark.parametrize("masking", ["random", "block"])
def test_patches_and_windows(masking):
    X = np.random.default_rng(0).normal(size=(40, 36))
    for shape, grid in (((1, 6, 6), (3, 3)), ((2, 18), (9,)), ((4, 3, 3), (2, 2))):
        model = JointEmbeddingPredictor(
            5, input_shape=shape, patch_size=2, masking=masking
        )
        fitted = fast(model).fit(X)
        assert fitted.transform(X).shape == (40, 5)
        hide = fitted._hide._masked
        assert isinstance(hide, MaskedBlocks) == (masking == "block")
        assert hide.count == np.prod(grid)
        if masking == "block":
            assert (hide.height, hide.width) == (grid if len(grid) > 1 else (1, *grid))


def test_columns_of_tables_have_no_neighbours(X):
    plain = fast(JointEmbeddingPredictor(3)).fit(X).transform(X)
    block = fast(JointEmbeddingPredictor(3, masking="block")).fit(X).transform(X)
    np.testing.assert_array_equal(plain, block)


def test_bad_shapes_are_named():
    X = np.random.default_rng(0).normal(size=(40, 36))
    with pytest.raises(ValueError, match=r"input_shape=\(1, 5, 5\) does not fit"):
        fast(JointEmbeddingPredictor(input_shape=(1, 5, 5))).fit(X)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tables_of_one_or_two_columns(width):
    X = np.random.default_rng(0).normal(size=(60, width))
    Z = fast(JointEmbeddingPredictor(4)).fit(X).transform(X)
    assert np.isfinite(Z).all()
    assert Z.std() > 0


def test_bad_settings_are_named(X):
    for sizes in ((32, 16), (20,), ()):
        with pytest.raises(ValueError, match="hidden_layer_sizes must be 'auto' or one"):
            fast(JointEmbeddingPredictor(hidden_layer_sizes=sizes)).fit(X)
    with pytest.raises(ValueError, match="mask_ratio must be a share"):
        fast(JointEmbeddingPredictor(mask_ratio=(0.5, 0.2))).fit(X)
