"""Objectives of two views against loops written from their papers' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.inspection import alignment, infonce_bound, uniformity
from sklearn_repr.objectives import (
    BYOL,
    AlignUniform,
    BarlowTwins,
    Composite,
    NTXent,
    Objective,
    SimSiam,
    SupCon,
    Triplet,
    VICReg,
    nt_xent,
    supcon,
    triplet,
)
from sklearn_repr.objectives import align_uniform as torch_metrics
from sklearn_repr.objectives.barlow_twins import cross_correlation
from sklearn_repr.objectives.vicreg import covariance_penalty, variance_hinge


def cosine(a, b):
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def mean_of_views(losses):
    n = len(losses) // 2
    return [(losses[i] + losses[i + n]) / 2 for i in range(n)]


# -- the references ----------------------------------------------------------------------


def slow_nt_xent(first, second, temperature=0.5, labels=None):
    return slow_supcon(first, second, range(len(first)), temperature)


def slow_supcon(first, second, labels, temperature=0.5):
    """Equation 2 of arXiv:2004.11362."""
    views, classes = [*first, *second], [*labels, *labels]
    n = len(views)
    losses = []
    for i in range(n):
        others = [k for k in range(n) if k != i]
        total = sum(math.exp(cosine(views[i], views[k]) / temperature) for k in others)
        partner = (i + n // 2) % n
        positives = [
            k
            for k in others
            if k == partner or (classes[i] >= 0 and classes[k] == classes[i])
        ]
        logs = [
            math.log(math.exp(cosine(views[i], views[p]) / temperature) / total)
            for p in positives
        ]
        losses.append(-sum(logs) / len(positives))
    return mean_of_views(losses)


def slow_triplet(first, second, margin=0.2, labels=None):
    """Equations 1 and 4 of arXiv:1503.03832."""
    views = [*first, *second]
    n = len(views)
    classes = [*range(n // 2)] * 2 if labels is None else [*labels, *labels]
    losses = []
    for i in range(n):
        partner = (i + n // 2) % n
        positive = 2 - 2 * cosine(views[i], views[partner])
        negatives = [
            2 - 2 * cosine(views[i], views[k])
            for k in range(n)
            if k not in (i, partner) and (classes[k] != classes[i] or classes[i] < 0)
        ]
        farther = [d for d in negatives if d > positive]
        if not negatives:
            losses.append(0.0)
            continue
        negative = min(farther) if farther else max(negatives)
        losses.append(max(0.0, positive - negative + margin))
    return mean_of_views(losses)


def slow_vicreg(first, second):
    """Algorithm 1 of arXiv:2105.04906, by its equations 1 to 5."""
    n, d = first.shape
    invariance = [
        sum((first[i, j] - second[i, j]) ** 2 for j in range(d)) / d for i in range(n)
    ]
    variance = covariance = 0.0
    for z in (first, second):
        means = [sum(z[i, j] for i in range(n)) / n for j in range(d)]

        def c(k, m, z=z, means=means):
            products = ((z[i, k] - means[k]) * (z[i, m] - means[m]) for i in range(n))
            return sum(products) / (n - 1)

        variance += sum(max(0, 1 - math.sqrt(c(j, j) + 1e-4)) for j in range(d)) / d
        covariance += sum(c(k, m) ** 2 for k in range(d) for m in range(d) if k != m) / d
    return {"invariance": invariance, "variance": variance, "covariance": covariance}


def slow_barlow_twins(first, second):
    """Equations 1 and 2 of arXiv:2103.03230."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    n, d = a.shape
    invariance = redundancy = 0.0
    for i in range(d):
        for j in range(d):
            above = sum(a[row, i] * b[row, j] for row in range(n))
            below = math.sqrt(sum(a[row, i] ** 2 for row in range(n)))
            below *= math.sqrt(sum(b[row, j] ** 2 for row in range(n)))
            if i == j:
                invariance += (1 - above / below) ** 2
            else:
                redundancy += (above / below) ** 2
    return {"invariance": invariance, "redundancy": redundancy}


def slow_align_uniform(first, second):
    """Equations of section 4 of arXiv:2005.10242, with alpha = t = 2."""
    unit = [[row / np.linalg.norm(row) for row in z] for z in (first, second)]
    n = len(first)
    aligned = [sum((x - y) ** 2) for x, y in zip(*unit, strict=True)]
    uniform = 0.0
    for z in unit:
        pairs = [
            math.exp(-2 * sum((z[i] - z[j]) ** 2)) for i in range(n) for j in range(i)
        ]
        uniform += math.log(sum(pairs) / len(pairs)) / 2
    return {"alignment": aligned, "uniformity": uniform}


def slow_byol(first, second, z, other):
    """Equation 2 of arXiv:2006.07733, both ways."""

    def distance(q, t):
        q, t = q / np.linalg.norm(q), t / np.linalg.norm(t)
        return sum((a - b) ** 2 for a, b in zip(q, t, strict=True))

    rows = range(len(first))
    return [distance(first[i], other[i]) + distance(second[i], z[i]) for i in rows]


def slow_simsiam(first, second, z, other):
    """Equations 1 and 2 of arXiv:2011.10566."""
    return [
        -cosine(first[i], other[i]) / 2 - cosine(second[i], z[i]) / 2
        for i in range(len(first))
    ]


# -- objectives and outputs --------------------------------------------------------------

LABELS = torch.tensor([0, 1, 0, -1, 2, -1, 0])
PROJECTING = {
    "nt_xent": (NTXent(0.3), lambda a, b: {"nt_xent": slow_nt_xent(a, b, 0.3)}),
    "supcon": (
        SupCon(0.3),
        lambda a, b: {"supcon": slow_supcon(a, b, LABELS.tolist()[: len(a)], 0.3)},
    ),
    "triplet": (
        Triplet(),
        lambda a, b: {"triplet": slow_triplet(a, b, 0.2, LABELS.tolist()[: len(a)])},
    ),
    "vicreg": (VICReg(), slow_vicreg),
    "barlow_twins": (BarlowTwins(), slow_barlow_twins),
    "align_uniform": (AlignUniform(), slow_align_uniform),
}
PREDICTING = {"byol": (BYOL(), slow_byol), "simsiam": (SimSiam(), slow_simsiam)}
ALL = {name: made[0] for name, made in {**PROJECTING, **PREDICTING}.items()}
SCALE_FREE = ("nt_xent", "supcon", "triplet", "barlow_twins", "align_uniform")
SCALE_FREE += ("byol", "simsiam")


def terms_of(objective, first, second, prediction=None):
    """Return the terms of two views, which are their own predictions if none is given."""
    views = torch.cat([first, second])
    n = len(first)
    outputs = Outputs(
        views,
        projection=views,
        prediction=views if prediction is None else torch.cat([*prediction]),
        target=views.detach(),
    )
    labels = LABELS.repeat(-(-n // len(LABELS)))[:n]
    return objective(outputs, Batch(torch.zeros(n, 2), labels=labels))


def two(n=7, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 7])
@pytest.mark.parametrize("name", PROJECTING)
def test_objectives_of_projections_equal_their_papers(name, n):
    objective, slow = PROJECTING[name]
    first, second = two(n)
    # views that resemble each other, as in training
    second = first + 0.5 * second
    terms = terms_of(objective, first, second)
    expected = slow(first.numpy(), second.numpy())
    assert set(terms) == set(expected)
    for key, value in terms.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", PREDICTING)
def test_objectives_of_predictions_equal_their_papers(name):
    objective, slow = PREDICTING[name]
    (first, second), prediction = two(), two(seed=1)
    terms = terms_of(objective, first, second, prediction)
    expected = slow(*prediction.numpy(), first.numpy(), second.numpy())
    np.testing.assert_allclose(terms[name], expected, rtol=0, atol=1e-10)


def test_the_papers_constants():
    assert VICReg().weights == {"invariance": 25, "variance": 25, "covariance": 1}
    assert VICReg({"variance": 3.0}).weights["variance"] == 3
    assert BarlowTwins().weights == {"redundancy": 5e-3}
    assert Triplet().margin == 0.2
    assert (AlignUniform().power, AlignUniform().t) == (2, 2)


@pytest.mark.parametrize("name", ALL)
def test_both_views_count_alike(name):
    (first, second), (p, q) = two(), two(seed=1)
    one = terms_of(ALL[name], first, second, (p, q))
    other = terms_of(ALL[name], second, first, (q, p))
    for key, value in one.items():
        torch.testing.assert_close(value, other[key])


@pytest.mark.parametrize("name", SCALE_FREE)
def test_cosines_and_correlations_are_blind_to_length(name):
    (first, second), (p, q) = two(), two(seed=1)
    one = terms_of(ALL[name], first, second, (p, q))
    other = terms_of(ALL[name], 3 * first, second / 7, (p / 5, 2 * q))
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=1e-9, atol=1e-9)


SAME = {
    "nt_xent": {"nt_xent": math.log(13)},
    "supcon": {"supcon": math.log(13)},
    "triplet": {"triplet": 0.2},
    "vicreg": {"invariance": 0.0, "variance": 1.98, "covariance": 0.0},
    "barlow_twins": {"invariance": 5.0, "redundancy": 0.0},
    "align_uniform": {"alignment": 0.0, "uniformity": 0.0},
    "byol": {"byol": 0.0},
    "simsiam": {"simsiam": -1.0},
}


@pytest.mark.parametrize("name", SAME)
def test_collapsed_embeddings_give_the_known_values(name):
    same = torch.linspace(-1, 1, 5, dtype=torch.float64).expand(7, 5)
    terms = terms_of(ALL[name], same, same)
    assert set(terms) == set(SAME[name])
    for key, value in terms.items():
        np.testing.assert_allclose(value, SAME[name][key], atol=1e-12)


def test_identical_views_give_the_known_values():
    first, _ = two(7)
    assert terms_of(VICReg(), first, first)["invariance"].abs().max() == 0
    np.testing.assert_allclose(terms_of(AlignUniform(), first, first)["alignment"], 0)
    np.testing.assert_allclose(terms_of(BYOL(), first, first)["byol"], 0, atol=1e-12)
    np.testing.assert_allclose(terms_of(SimSiam(), first, first)["simsiam"], -1)
    white = torch.linalg.qr(two(50, 5)[0] - two(50, 5)[0].mean(dim=0)).Q
    for value in terms_of(BarlowTwins(), white, white).values():
        np.testing.assert_allclose(value, 0, atol=1e-12)
    far = torch.eye(7, dtype=torch.float64)
    assert terms_of(Triplet(), far, far)["triplet"].abs().max() == 0
    torch.testing.assert_close(
        variance_hinge(10 * white), torch.zeros(()).double(), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(covariance_penalty(white), 0, atol=1e-12)
    np.testing.assert_allclose(cross_correlation(white, -white), -np.eye(5), atol=1e-12)


def test_supervised_contrast_without_a_class_in_common_is_nt_xent():
    first, second = two()
    for labels in (torch.arange(7), torch.full((7,), -1)):
        torch.testing.assert_close(
            supcon(first, second, labels, 0.5), nt_xent(first, second, 0.5)
        )


def test_rows_of_the_same_class_are_no_negatives():
    first, second = two()
    alone = triplet(first, second, 0.2, torch.zeros(7, dtype=torch.int64))
    assert alone.abs().max() == 0
    unlabelled = triplet(first, second, 0.2, torch.full((7,), -1))
    torch.testing.assert_close(unlabelled, triplet(first, second, 0.2))


EXTREMES = {
    "one row": lambda: two(1),
    "duplicate rows": lambda: two(1).expand(2, 7, 5),
    "some duplicates": lambda: torch.cat([two(3), two(3)], dim=1),
    "zero vectors": lambda: torch.zeros(2, 7, 5, dtype=torch.float64),
    "one zero vector": lambda: two() * torch.arange(7).view(1, 7, 1),
    "one column": lambda: two(7, 1),
    "long vectors": lambda: 1e8 * two(),
}


@pytest.mark.parametrize("make", EXTREMES.values(), ids=EXTREMES.keys())
@pytest.mark.parametrize("name", ALL)
def test_values_and_gradients_stay_finite(name, make):
    first, second = (view.clone().requires_grad_() for view in make())
    terms = terms_of(ALL[name], first, second)
    assert all(bool(torch.isfinite(term).all()) for term in terms.values())
    total = sum(term.sum() for term in terms.values())
    for gradient in torch.autograd.grad(total, (first, second), allow_unused=True):
        assert gradient is None or bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name):
    first, second = two(5, 3)
    other = (first + 0.5 * second).requires_grad_()
    fixed = torch.cat([first, other]).detach().clone()

    def loss(second):
        views = torch.cat([first, second])
        outputs = Outputs(views, projection=views, prediction=views, target=fixed)
        if name == "simsiam":
            outputs.projection = fixed
        rows = Batch(torch.zeros(5, 2), labels=LABELS[:5])
        return sum(term.sum() for term in ALL[name](outputs, rows).values())

    assert torch.autograd.gradcheck(loss, other)


def test_no_gradient_flows_into_what_is_predicted():
    for objective in PREDICTING:
        views = torch.randn(4, 3, requires_grad=True)
        prediction = torch.randn(4, 3, requires_grad=True)
        outputs = Outputs(views, projection=views, prediction=prediction, target=views)
        ALL[objective](outputs, Batch(torch.zeros(2, 2)))[objective].sum().backward()
        assert views.grad is None
        assert (prediction.grad.abs().sum(dim=1) > 0).all()


def test_the_temperature_can_be_learned():
    first, second = two()
    second = first + 0.1 * second
    objective = NTXent(0.5, learn_temperature=True).double()
    loss = terms_of(objective, first, second)["nt_xent"]
    torch.testing.assert_close(loss, nt_xent(first, second, 0.5))
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        terms_of(objective, first, second)["nt_xent"].mean().backward()
        optimizer.step()
    # views that agree this well ask for ever lower temperatures, but there is a bound
    lowest = terms_of(objective, first, second)["nt_xent"]
    torch.testing.assert_close(lowest, nt_xent(first, second, 0.01))
    # and from the bound it comes back, once views disagree
    second = torch.randn(second.shape, dtype=second.dtype)
    for _ in range(20):
        optimizer.zero_grad()
        terms_of(objective, first, second)["nt_xent"].mean().backward()
        optimizer.step()
    assert objective.log_temperature.exp().item() > 0.1


class Staged(Objective):
    """A term of its own, and a memory of the epochs it was told of."""

    settled = False

    def __init__(self):
        super().__init__()
        self.heard = []

    def start_epoch(self, epoch, n_rows):
        self.heard.append((epoch, n_rows))
        self.settled = epoch >= 2

    def terms(self, outputs, target):
        return {"staged": outputs.embedding.sum(dim=1)}


def test_parts_of_a_composite_hear_of_epochs():
    staged = Staged()
    both = Composite([NTXent(), staged])
    for epoch in range(3):
        both.start_epoch(epoch, 7)
        assert both.settled == (epoch == 2)
    assert staged.heard == [(0, 7), (1, 7), (2, 7)]


def test_no_two_parts_of_a_composite_have_the_same_term():
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match="Two objectives have a term 'nt_xent'"):
        terms_of(Composite([NTXent(0.5), NTXent(0.1)]), x, x)


def test_objectives_say_what_they_miss():
    x = torch.randn(4, 3)
    for name, objective in ALL.items():
        with pytest.raises(ValueError, match="needs"):
            objective(Outputs(x, projection=x[:3]), Batch(x[:2], labels=LABELS[:2]))
        assert objective.needs_labels == (name == "supcon")
        assert objective.needs_prediction == (name in PREDICTING)
    with pytest.raises(ValueError, match="needs labels"):
        SupCon()(Outputs(x, projection=x), Batch(x[:2]))
    both = Composite([SupCon(), BYOL()])
    assert both.needs_labels
    assert both.needs_prediction


# -- metrics -----------------------------------------------------------------------------


def test_the_terms_are_the_metrics_of_inspection():
    first, second = two(40)
    terms = terms_of(AlignUniform(), first, second)
    assert float(terms["alignment"].mean()) == pytest.approx(alignment(first, second))
    expected = (uniformity(first) + uniformity(second)) / 2
    assert float(terms["uniformity"]) == pytest.approx(expected)
    assert float(torch_metrics.uniformity(first, t=3)) == pytest.approx(
        uniformity(first, t=3)
    )


def correlated(rho, n, seed):
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, n))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.95])
def test_infonce_bounds_the_mutual_information_of_gaussians(rho):
    """With the optimal critic log p(y | x) / p(y), and many more negatives than e^I."""
    truth = -0.5 * math.log(1 - rho**2)
    bounds = []
    for seed in range(20):
        x, y = correlated(rho, 500, seed)
        z = y[None, :] - rho * x[:, None]
        critic = -(z**2) / (2 * (1 - rho**2)) + y[None, :] ** 2 / 2
        bounds.append(infonce_bound(critic))
    assert abs(np.mean(bounds) - truth) < 0.1


def test_infonce_is_never_above_log_n():
    rng = np.random.default_rng(0)
    for n in (1, 2, 10, 100):
        for scale in (0.0, 1.0, 1e6):
            scores = scale * (rng.normal(size=(n, n)) + 3 * np.eye(n))
            assert infonce_bound(scores) <= math.log(n) + 1e-12
        assert infonce_bound(1e6 * np.eye(n)) == pytest.approx(math.log(n))
        assert infonce_bound(np.ones((n, n))) == pytest.approx(0)
    # perfectly dependent variables have infinitely much; the bound ends at log N
    x, y = correlated(0.999999, 50, 0)
    assert infonce_bound(-1e9 * (x[:, None] - y[None, :]) ** 2) <= math.log(50)
    with pytest.raises(ValueError, match="square"):
        infonce_bound(np.zeros((2, 3)))
