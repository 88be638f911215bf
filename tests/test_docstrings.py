"""Docstrings that cannot rot: numpydoc, and one text per parameter."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ESTIMATORS, OTHERS, SUPERVISED, TRANSFORMERS, each, fast
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import validate

import sklearn_repr

PACKAGE = Path(sklearn_repr.__file__).parent
# summaries may be nouns, returned values may have names, as in scikit-learn, and there
# may be nothing to see also
TOLERATED = {"ES01", "SA01", "EX01", "SS05", "RT02", "RT03"}
# an overridden method may say "see the class", a context manager need not say "Yields"
INTERNAL = {"PR01", "RT01", "YD01", "GL08", "SS02", "PR08"}


def public_objects():
    """Yield every public class, function and method by its full name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1].startswith("_"):
            continue
        module = import_module(".".join(parts))
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{module.__name__}.{name}"
            if inspect.isclass(thing):
                for method, function in vars(thing).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}"


@pytest.mark.parametrize("name", list(public_objects()))
def test_numpydoc(name):
    public = name.startswith(("sklearn_repr.estimators.", "sklearn_repr.inspection."))
    tolerated = TOLERATED if public else TOLERATED | INTERNAL
    errors = [e for e in validate(name)["errors"] if e[0] not in tolerated]
    assert not errors


@each(ESTIMATORS + OTHERS[:2] + SUPERVISED)
def test_every_parameter_is_documented_in_order_with_its_default(estimator):
    signature = inspect.signature(type(estimator)).parameters
    documented = ClassDoc(type(estimator))["Parameters"]
    assert [p.name for p in documented] == list(signature)
    for parameter in documented:
        default = signature[parameter.name].default
        shown = f'"{default}"' if isinstance(default, str) else str(default)
        assert f"default={shown}" in " ".join(parameter.type.split()), parameter.name
    first, *rest = signature.values()
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in rest)
    assert set(type(estimator)._parameter_constraints) == set(signature)


@each(ESTIMATORS + OTHERS[:2] + SUPERVISED)
def test_fitted_attributes_are_documented(estimator, X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    attributes = {
        name
        for name in vars(fast(estimator).fit(frame, X[:, 0] > 0))
        if name.endswith("_") and not name.startswith("_")
    }
    documented = {p.name for p in ClassDoc(type(estimator))["Attributes"]}
    assert attributes == documented & attributes
    assert documented == attributes


# parameters whose meaning differs from estimator to estimator
DIFFER = {
    "alpha",
    "init",
    "input_shape",
    "loss",
    "objective",
    "n_components",
    "hidden_layer_sizes",
    "architecture",
    "batch_size",
    "scaling",
    "random_state",
    "verbose",
    "corruption_level",
    "readout",
    "max_iter",
    # of classes and of numbers
    "mode",
    "semi_supervised",
    "early_stopping",
    "validation_fraction",
    "max_steps",
}


@pytest.mark.parametrize("estimators", [ESTIMATORS, SUPERVISED], ids=["φ", "f"])
def test_the_same_parameter_has_the_same_text_everywhere(estimators):
    texts = {}
    for estimator in estimators:
        for parameter in ClassDoc(type(estimator))["Parameters"]:
            if parameter.name not in DIFFER:
                texts.setdefault(parameter.name, set()).add(" ".join(parameter.desc))
    assert not {name for name, variants in texts.items() if len(variants) > 1}


def test_order_of_parameters_is_that_of_the_design():
    order = [
        # what comes out
        *("autoencoder", "n_components", "readout", "normalize", "scaling"),
        *("categorical_features", "max_categories", "min_frequency", "missing"),
        # architecture
        *("architecture", "y_architecture", "input_shape", "y_input_shape"),
        *("patch_size", "kernel_size", "stride", "hidden_layer_sizes", "activation"),
        *("dropout", "layer_norm", "linear_skip", "tied_weights", "init"),
        *("projection_dim", "predictor", "target_momentum"),
        # objective
        *("loss", "loss_scale", "penalty", "penalty_weight", "sparsity_target"),
        *("likelihood", "decoder_variance", "objective", "beta", "kl_warm_up"),
        *("free_bits", "temperature", "learn_temperature", "reconstruction_weight"),
        *("variance_weight", "prediction_steps", "negatives"),
        # corruption, and where views come from
        *("pairs", "n_neighbors", "corruption", "views", "mask_ratio", "masking"),
        *("corruption_level", "n_corruptions", "latent_mixup"),
        # optimisation
        *("alpha", "optimizer", "learning_rate", "learning_rate_init", "gradient_clip"),
        *("batch_size", "chunk_size", "max_iter", "max_steps", "early_stopping"),
        *("validation_fraction", "n_iter_no_change", "tol", "warm_start", "callbacks"),
        # where, how precisely, from which seed, how loudly
        *("device", "dtype", "random_state", "verbose"),
    ]
    for estimator in TRANSFORMERS:
        names = list(inspect.signature(type(estimator)).parameters)
        assert set(names) <= set(order)
        assert names == sorted(names, key=order.index)


def test_functions_have_docstrings_that_numpydoc_can_read():
    from sklearn_repr.inspection import reconstruction_r2

    assert FunctionDoc(reconstruction_r2)["Returns"]
