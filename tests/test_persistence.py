"""Estimators saved to files without pickle, and loaded from any file that comes along."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from functools import cache, partial

import forged_files
import golden_files
import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
import torch
from conftest import ESTIMATORS, correlated, fast
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import NMF, PCA, KernelPCA
from sklearn.frozen import FrozenEstimator
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils import get_tags
from torch import nn

import sklearn_repr
from sklearn_repr import (
    AutoencoderImputer,
    AutoencoderTransformer,
    CannotSaveError,
    DenoisingAutoencoder,
    InvalidFileError,
    MaskedAutoencoder,
    NewerFileError,
    PairedEmbedder,
    ReconstructionOutlierDetector,
    load,
    save,
)
from sklearn_repr.data.dtypes import from_plain, to_plain
from sklearn_repr.engine.portable import SKLEARN, known_classes
from sklearn_repr.engine.reader import Reader
from sklearn_repr.engine.writer import Writer
from sklearn_repr.modules.tied import TiedLinear
from sklearn_repr.utils.discovery import all_estimators

ROWS = correlated(40, d=4)
CLASSES = np.arange(40) % 2
FRAME = pd.DataFrame(ROWS[:, :3], columns=["a", "b", "c"]).assign(
    kind=pd.Categorical(np.array(["x", "y", "é"])[np.arange(40) % 3]),
    flag=np.arange(40) % 4 == 0,
)
FRAME.iloc[5, 1] = np.nan
FRAME.iloc[7, 3] = None

seeded = {"random_state": 0}
detector = partial(ReconstructionOutlierDetector, n_steps=10, **seeded)
WRAPPERS = {
    "AutoencoderImputer": AutoencoderImputer(MaskedAutoencoder(2, max_iter=3), **seeded),
    "detector-folds": detector(calibration=2, threshold="conformal"),
    "detector-novelty": detector(novelty=True, contamination=0.1),
    "detector-PCA": detector(PCA(2), calibration=0.3, neighbor_weight=1.0),
    "detector-ours": detector(AutoencoderTransformer(2, max_iter=3)),
    "detector-conditionals": detector(
        MaskedAutoencoder(2, max_iter=3), score_with="conditionals"
    ),
}
UNFITTED = {type(e).__name__: fast(e) for e in ESTIMATORS} | WRAPPERS
CASES = [(name, "numbers") for name in UNFITTED] + [
    (name, "frame") for name, e in UNFITTED.items() if get_tags(e).input_tags.categorical
]


@cache
def fitted(name, table):
    X = {"numbers": ROWS, "frame": FRAME}[table]
    estimator = clone(UNFITTED[name])
    if isinstance(estimator, PairedEmbedder):
        # the tests' own class, which pairs a table with itself, is not one to be saved
        return PairedEmbedder(**estimator.get_params()).fit(X, X), X
    required = get_tags(estimator).target_tags.required
    return estimator.fit(X, CLASSES if required else None), X


def answers(estimator, X):
    """Return what all methods that take rows say, errors included."""
    names = (
        *("transform", "reconstruct", "reconstruction_error", "score_samples", "predict"),
        *("decision_function", "predict_proba", "impute", "explain", "p_values"),
        *("outlier_probability", "score"),
    )
    found = {}
    for name in names:
        if hasattr(estimator, name):
            try:
                found[name] = getattr(estimator, name)(X)
            except (ValueError, TypeError) as error:
                found[name] = str(error)
    if hasattr(estimator, "sample"):
        found["sample"] = estimator.sample(3, random_state=0)
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, second[name], check_exact=True)
        else:
            np.testing.assert_array_equal(value, second[name], err_msg=name)


def arrays_of(value, known):
    """Add up the bytes of all that an object, and what it holds, has in arrays."""
    if id(value) in known or isinstance(value, str | type):
        return 0
    known[id(value)] = value
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    parts = list(value.values()) if isinstance(value, dict) else []
    parts += list(value) if isinstance(value, list | tuple) else []
    parts += list(getattr(value, "__dict__", {}).values())
    return sum(arrays_of(part, known) for part in parts)


def parameter_bytes(estimator):
    """Return the size of what an estimator learned.

    Without a network of its own it is that of all its arrays: reference rows and scores
    of training rows are among them.
    """
    net = getattr(estimator, "net_", None)
    if net is None:
        return arrays_of(estimator, {})
    parts = [*net.module_.parameters(), *net.module_.buffers()]
    return sum(part.numel() * part.element_size() for part in parts)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "estimator.safetensors"


@pytest.mark.parametrize(("name", "table"), CASES)
def test_answers_are_bit_equal_after_a_round_trip(name, table, path):
    estimator, X = fitted(name, table)
    save(estimator, path)
    assert path.stat().st_size <= 1.1 * parameter_bytes(estimator) + 2**16
    loaded = load(path)
    assert type(loaded) is type(estimator)
    assert repr(loaded.get_params()) == repr(estimator.get_params())
    # the same file from what was loaded: nothing is lost on the way
    again = path.with_name("again")
    save(loaded, again)
    assert again.read_bytes() == path.read_bytes()
    expected = answers(estimator, X)
    assert expected
    assert_same(expected, answers(loaded, X))


# of a process of its own, in which skops may be imported: pickles are others there
CHILD = """
import sys, warnings, numpy as np, skops.io, sklearn_repr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
folder, *names = sys.argv[1:]
X = np.load(f"{folder}/rows.npy")


def compare(estimator, name):
    for method, expected in np.load(f"{folder}/{name}.npz").items():
        if method == "sample":
            found = estimator.sample(3, random_state=0)
        else:
            found = getattr(estimator, method)(X)
        np.testing.assert_array_equal(found, expected, f"{name}.{method}")


for name in names:
    loaded = sklearn_repr.load(f"{folder}/{name}")
    compare(loaded, name)
    whole = make_pipeline(StandardScaler(with_mean=False, with_std=False).fit(X), loaded)
    content = skops.io.dumps(whole)
    ours = skops.io.get_untrusted_types(data=content)
    assert all(kind.startswith("sklearn_repr.estimators.") for kind in ours), ours
    compare(skops.io.loads(content, trusted=ours)[-1], name)
    again = f"{folder}/again"
    sklearn_repr.save(loaded, again)
    assert open(again, "rb").read() == open(f"{folder}/{name}", "rb").read()
    print(name)
"""


def test_answers_are_bit_equal_in_another_process_and_by_skops(tmp_path):
    names = [name for name, table in CASES if table == "numbers"]
    np.save(tmp_path / "rows.npy", ROWS)
    for name in names:
        estimator, X = fitted(name, "numbers")
        save(estimator, tmp_path / name)
        numbers = {k: v for k, v in answers(estimator, X).items() if np.ndim(v)}
        np.savez(tmp_path / f"{name}.npz", **numbers)
    command = [sys.executable, "-c", CHILD, str(tmp_path), *names]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout.split() == names, run.stderr


@pytest.mark.parametrize("name", ["AutoencoderTransformer", "ContrastiveEmbedder"])
def test_no_training_row_and_no_optimiser_is_in_a_file(name, path):
    estimator = clone(UNFITTED[name]).set_params(scaling=None, max_iter=1)
    marked = np.random.default_rng(0).permutation(40 * 4).reshape(40, 4) / 7.0 + 1e3
    save(estimator.fit(marked.astype(np.float32)), path)
    cells = {float(cell) for cell in marked.astype(np.float32).ravel()}
    # ranges of columns apart, of which codecs and layers know
    for array in load_file(path).values():
        found = set(np.unique(array).astype(float).tolist()) & cells
        assert len(found) <= 8
    loaded = load(path)
    assert not hasattr(loaded.net_, "optimizer_")
    assert [row["train_loss"] for row in loaded.net_.history] == loaded.loss_curve_


def test_training_goes_on_after_loading(path):
    estimator = AutoencoderTransformer(2, max_iter=3, warm_start=True, random_state=0)
    save(estimator.fit(ROWS), path)
    loaded = load(path)
    np.testing.assert_array_equal(
        loaded.fit(ROWS).transform(ROWS), estimator.fit(ROWS).transform(ROWS)
    )
    assert loaded.n_iter_ == estimator.n_iter_ == 6


def test_shared_weights_stay_shared(path):
    estimator = AutoencoderTransformer(2, tied_weights=True, max_iter=2, random_state=0)
    save(estimator.fit(ROWS), path)
    layers = list(load(path).net_.module_.modules())
    tied = [layer for layer in layers if isinstance(layer, TiedLinear)]
    for layer in layers:
        if type(layer) is nn.Linear:
            nn.init.zeros_(layer.weight)
    assert tied
    assert not any(layer.weight.any() for layer in tied)


def test_arrays_and_tensors_keep_their_layout():
    # products may round otherwise in another
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
    given = [
        *(array, np.asfortranarray(array), array[::2], array[..., None], np.array(1.5)),
        *(np.broadcast_to(array[0], (2, *array[0].shape)), array.astype(">f4")),
        *(np.array(["a", "é\U0001f600"]), np.array([["x", 1], [None, 2.5]], object)),
        *(torch.from_numpy(array), torch.ones(3).expand(2, 3), torch.tensor(True)),
        *(nn.Parameter(torch.ones(3, 2).T, requires_grad=False), np.float32(0.1)),
    ]
    writer = Writer()
    written = json.loads(json.dumps(writer.write(given, "given")))
    found = Reader(lambda at: writer.arrays[at].copy()).read(written)
    for before, after in zip(given, found, strict=True):
        assert type(after) is type(before)
        np.testing.assert_array_equal(after, before)
    dense = [0, 1, 7, 8, 9, 11, 12]
    for at in dense:
        strides = [
            getattr(x[at], "strides", None) or x[at].stride() for x in (given, found)
        ]
        assert strides[0] == strides[1]
    assert not found[12].requires_grad


def test_a_file_is_one_as_others_are(path):
    other = path.with_name("other")
    other.write_text("")
    save(AutoencoderTransformer(2), path)
    assert path.stat().st_mode == other.stat().st_mode
    with pytest.raises(FileNotFoundError):
        save(AutoencoderTransformer(2), path.with_name("no") / "folder")
    assert sorted(path.parent.iterdir()) == [path, other]


def test_pipelines_of_known_steps(path):
    steps = StandardScaler(), fast(AutoencoderTransformer(2)), LogisticRegression()
    pipeline = make_pipeline(*steps).fit(ROWS, CLASSES)
    save(pipeline, path)
    assert_same(answers(pipeline, ROWS), answers(load(path), ROWS))


# estimators that hold another
WITHIN = Pipeline, FrozenEstimator


@pytest.mark.parametrize(
    "cls", [c for c in SKLEARN if issubclass(c, BaseEstimator) and c not in WITHIN]
)
@pytest.mark.filterwarnings("ignore:n_quantiles")
def test_estimators_of_scikit_learn(cls, path):
    estimator = cls()
    X = np.abs(ROWS) if cls is NMF else np.where(ROWS > 2, np.nan, ROWS)
    if cls not in (SimpleImputer, MissingIndicator):
        X = np.nan_to_num(X)
    estimator.fit(*([CLASSES] if cls is LabelEncoder else [X, CLASSES]))
    save(estimator, path)
    loaded = load(path)
    assert vars(loaded).keys() == vars(estimator).keys()
    given = CLASSES if cls is LabelEncoder else X
    method = "transform" if hasattr(estimator, "transform") else "predict"
    np.testing.assert_array_equal(
        getattr(loaded, method)(given), getattr(estimator, method)(given)
    )


@pytest.mark.parametrize("estimator", [cls() for _, cls in all_estimators()], ids=str)
def test_what_is_not_fitted_can_be_saved(estimator, path):
    save(estimator, path)
    assert repr(load(path)) == repr(estimator)


def test_settings_of_other_kinds(path):
    estimator = fast(DenoisingAutoencoder(2)).set_params(
        corruption=sklearn_repr.corruptions.SwapNoise((0.1, 0.2)),
        random_state=np.random.RandomState(3),
        dtype="float64",
    )
    estimator.set_output(transform="pandas").fit(ROWS)
    save(estimator, path)
    loaded = load(path)
    pd.testing.assert_frame_equal(loaded.transform(ROWS), estimator.transform(ROWS))
    assert loaded.corruption.level == (0.1, 0.2)
    assert loaded.random_state.randint(1000) == estimator.random_state.randint(1000)


def own_module(n_in, n_components):
    class Own(nn.Linear):
        def encode(self, x):
            return self(x)

        def decode(self, z):
            return z[:, :1].expand(len(z), n_in)

    return Own(n_in, n_components)


class Own(AutoencoderTransformer):
    __doc__ = None


def hooked():
    estimator = AutoencoderTransformer(2, max_iter=1, random_state=0).fit(ROWS)
    estimator.net_.module_.encoder.register_forward_hook(lambda *_: None)
    return estimator


REFUSED = {
    "AutoencoderTransformer.architecture is the function own_module": (
        lambda: AutoencoderTransformer(2, architecture=own_module)
    ),
    "DenoisingAutoencoder.corruption is the function <lambda>": (
        lambda: DenoisingAutoencoder(2, corruption=lambda x: x)
    ),
    "AutoencoderTransformer.optimizer is the class SGD": (
        lambda: AutoencoderTransformer(2, optimizer=torch.optim.SGD)
    ),
    "Own is an object of class test_persistence.Own": lambda: Own(2),
    "ReconstructionOutlierDetector.estimator is an object of class sklearn.": (
        lambda: ReconstructionOutlierDetector(KernelPCA(2, fit_inverse_transform=True))
    ),
    "encoder has hooks": hooked,
    "Pipeline.memory is a folder of pickles": (
        lambda: make_pipeline(PCA(2), memory="folder")
    ),
    "dict is no estimator": dict,
    "holds itself, or too many": (
        lambda: AutoencoderTransformer(2, hidden_layer_sizes=endless())
    ),
    "More than 16 MiB, or 500,000 values": (
        lambda: AutoencoderTransformer(2, hidden_layer_sizes=list(range(500_001)))
    ),
}


def endless():
    items = []
    items.append(items)
    return items


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_carried_is_refused_by_name(message, path):
    estimator = REFUSED[message]()
    path.write_text("what was there")
    with pytest.raises(CannotSaveError, match=message.replace("(", "\\(")):
        save(estimator, path)
    assert path.read_text() == "what was there"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


PLAIN = [
    pd.CategoricalDtype(["a", "b"], ordered=True),
    pd.CategoricalDtype(pd.Index([3, 1], dtype="int8")),
    pd.CategoricalDtype(pd.interval_range(0, 3)),
    pd.CategoricalDtype(),
    pd.Int64Dtype(),
    pd.StringDtype(),
    pd.BooleanDtype(),
    pd.ArrowDtype(pyarrow.string()),
    pd.ArrowDtype(pyarrow.float64()),
    pd.ArrowDtype(pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
    polars.Float32(),
    polars.String(),
    polars.Categorical(),
    polars.Enum(["b", "a"]),
    pd.Timestamp("2020-02-03 04:05:06.000000007"),
    datetime.date(2020, 2, 3),
    pd.Interval(0.5, 1.5, closed="left"),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_types_of_columns_come_back(value):
    found = from_plain(to_plain(value))
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, pd.CategoricalDtype) and value.categories is not None:
        pd.testing.assert_index_equal(found.categories, value.categories)


@pytest.mark.parametrize(
    "value", [object(), pd.Timestamp("2020-01-01", tz="Asia/Tokyo"), polars.Date(), len]
)
def test_other_types_are_none(value):
    assert to_plain(value) is None


def test_frames_of_many_types(path):
    kinds = np.array(["u", "v"])[np.arange(40) % 2]
    frame = FRAME.assign(
        cut=pd.cut(ROWS[:, 3], 3),
        number=pd.array(np.arange(40) % 5, dtype="Int64"),
        text=pd.array(kinds, dtype="string"),
        arrow=pd.array(kinds, dtype=pd.ArrowDtype(pyarrow.string())),
        day=[datetime.date(2020, 1, 1 + i % 2) for i in range(40)],
        moment=[pd.Timestamp(2020, 1, 1 + i % 2) for i in range(40)],
    )
    categories = ["kind", "flag", "cut", "text", "arrow", "day", "moment"]
    estimator = fast(MaskedAutoencoder(2, categorical_features=categories)).fit(frame)
    save(estimator, path)
    loaded = load(path)
    pd.testing.assert_frame_equal(loaded.impute(frame), estimator.impute(frame))
    pd.testing.assert_frame_equal(
        loaded.reconstruct(frame), estimator.reconstruct(frame), check_exact=True
    )


# -- files of any origin --------------------------------------------------------------


def write_file(path, state, arrays=None, about=None):
    """Write a file as `save` would, of any state."""
    about = {"format": 1} if about is None else about
    text = state if isinstance(state, str) else json.dumps(state)
    parts = {str(i): np.asarray(array) for i, array in enumerate(arrays or [])}
    parts["state"] = np.frombuffer(text.encode(), np.uint8)
    save_file(parts, path, {"sklearn_repr": json.dumps(about)})


def estimator_with(value):
    return {"object": ["AutoencoderTransformer", {"n_components": value}]}


def read_back(path, value, arrays=None):
    write_file(path, estimator_with(value), arrays)
    return load(path).n_components


ENDLESS = {"range": [0, 2**40, 1]}
HOSTILE = {
    "a class of another package": {"object": ["os.system", {}]},
    "a class that compiles": {"object": ["Program", {}]},
    "a class of skorch": {"object": ["skorch.NeuralNet", {}]},
    "a function of torch": {"module": ["torch.load", {}, {}, {}, [], {}]},
    "another kind": {"reduce": ["os.system", ["true"]]},
    "two kinds": {"tuple": [], "set": []},
    "no kind": {},
    "a method": {"object": ["AutoencoderTransformer", {"fit": 1}]},
    "a property": {"object": ["AutoencoderTransformer", {"_n_features_out": 1}]},
    "a state within a state": {
        "object": [
            "AutoencoderTransformer",
            {"arrays_of_state": {"dict": {"state": {"array": [4, None]}}}},
        ]
    },
    "no array of that number": {"array": [7, None]},
    "an array before the first": {"array": [-1, None]},
    "an array of other axes": {"array": [0, [0, 1, 2]]},
    "an array twice": [{"array": [0, None]}, {"tensor": [0, None]}],
    "a type of arrays": {"dtype": "float64, (9999999,)float64"},
    "a type of frames": {"plain": ["pandas", "object"]},
    "a type of polars": {"plain": ["polars", "read_csv"]},
    "a reference forward": {"ref": 5},
    "a reference back": {"ref": -1},
    "a long tuple": {"tuple": ENDLESS},
    "a long set": {"set": ENDLESS},
    "a long dict": {"pairs": [ENDLESS, ENDLESS]},
    "a long array": {"objects": [[2], ENDLESS]},
    "a long number": {"scalar": ["float64", ENDLESS]},
    "long labels": {"plain": ["categories", ENDLESS, None, False]},
    "a long type": {"plain": ENDLESS},
    "objects of another shape": {"objects": [[3], [1]]},
    "text beyond unicode": {"text": 0},
    "cells beyond the table": {
        "csr": ["csr_matrix", [{"array": [i, None]} for i in (1, 2, 3)], [2, 2]]
    },
    "layers without number": {
        "module": [
            "torch.GRU",
            {},
            {},
            {},
            [],
            {"num_layers": 2**40, "_all_weights": [[0]]},
        ]
    },
    "a function as a layer": {
        "module": ["torch.Sequential", {}, {}, {"0": 3}, [], {"training": False}]
    },
    "a pickled cache": {"object": ["sklearn.Pipeline", {"memory": "folder"}]},
}
ARRAYS = [
    np.full((2, 2), 2**30, np.uint32),
    np.ones(2),
    np.array([0, 9], np.int32),
    np.array([0, 1, 2], np.int32),
    np.frombuffer(b'{"dict":{}}', np.uint8),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_refused(name, path):
    with pytest.raises(InvalidFileError, match="is damaged, or is none that"):
        read_back(path, HOSTILE[name], ARRAYS)


def test_what_hostile_values_would_be_if_they_were_not(path):
    # that a value is refused by what is wrong with it, and not by its form
    assert read_back(path, {"tuple": [1, {"float": "inf"}]}) == (1, np.inf)
    assert read_back(path, {"range": [0, 3, 1]}) == range(3)
    assert read_back(path, {"pairs": [[1], ["a"]]}) == {1: "a"}
    assert read_back(path, {"scalar": ["float32", 0.5]}) == np.float32(0.5)
    assert read_back(path, {"plain": ["pandas", "Int8"]}) == pd.Int8Dtype()
    cells = {"csr": ["csr_matrix", [{"array": [i, None]} for i in (0, 1, 2)], [2, 2]]}
    arrays = [np.ones(2), np.array([0, 1], np.int32), np.array([0, 1, 2], np.int32)]
    found = read_back(path, cells, arrays)
    assert (found != sparse.eye(2)).nnz == 0
    network = {"module": ["torch.Sequential", {}, {}, {}, [], {"training": False}]}
    assert isinstance(read_back(path, network), nn.Sequential)


@pytest.mark.parametrize(
    ("state", "about"),
    [
        ("[" * 100_000, None),
        ('{"tuple":' * 5000 + "[]" + "}" * 5000, None),
        ("no JSON", None),
        ("[" + "[]," * 400_000 + "[]]", None),
        ({"dict": {}}, None),
        ([1], None),
        (estimator_with(1), {}),
        (estimator_with(1), {"format": None}),
        (estimator_with(1), {"format": "1"}),
        (estimator_with(1), [1]),
    ],
    ids=range(10),
)
def test_other_files_are_refused(state, about, path):
    write_file(path, state, about=about)
    with pytest.raises(InvalidFileError, match="is damaged, or is none that"):
        load(path)
    write_file(path, estimator_with(1), about={"format": 0})
    with pytest.raises(InvalidFileError, match="has no format that"):
        load(path)


def test_newer_files_say_what_to_install(path):
    write_file(path, "of another kind", about={"format": 2, "version": "7.1"})
    with pytest.raises(NewerFileError, match=r"by sklearn_repr 7\.1, in a format that"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(path.with_name("missing"))


def test_what_a_later_version_wrote_says_so(path):
    state = {"object": ["EstimatorOfTomorrow", {}]}
    write_file(path, state, about={"format": 1, "version": "7.1"})
    message = (
        r"'EstimatorOfTomorrow' is no class.*\(written by sklearn_repr 7\.1, read by"
    )
    with pytest.raises(InvalidFileError, match=message):
        load(path)


def test_numbers_of_lists_are_counted(path):
    value = [{"numbers": 0}] * 11
    assert len(read_back(path, value[:10], [np.zeros(50_000)])) == 10
    with pytest.raises(InvalidFileError, match="too many numbers"):
        read_back(path, value, [np.zeros(50_000)])


def test_classes_of_files_run_nothing():
    names = {cls.__module__.split(".")[0] for cls in known_classes().values()}
    assert names == {"sklearn", "sklearn_repr", "torch"}
    rooms = {
        cls.__module__ for cls in known_classes().values() if "_repr" in cls.__module__
    }
    assert {room for room in rooms if room.split(".")[1] in ("utils", "engine")} == {
        "sklearn_repr.engine.ensembles",
        "sklearn_repr.engine.net",
        "sklearn_repr.utils.randomness",
        "sklearn_repr.utils.references",
    }


GOLDEN = sorted(golden_files.FOLDER.rglob("*.safetensors"))


@pytest.mark.parametrize("source", GOLDEN, ids=lambda s: f"{s.parent.name}-{s.stem}")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_files_of_all_versions_load(source):
    estimator = load(source)
    found = golden_files.answers(estimator, golden_files.table_of(source.stem))
    with np.load(source.with_suffix(".npz")) as expected:
        assert set(found) == set(expected)
        for name, value in expected.items():
            if value.dtype.kind == "f":
                # other machines round otherwise, and p-values count what is smaller
                atol = 0.1 if name == "p_values" else 1e-5
                np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=atol)
            else:
                np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_forged_files_load_or_are_refused(tmp_path):
    names = "AutoencoderTransformer", "frame-autoencoder", "detector-PCA"
    sources = [source for source in GOLDEN if source.stem in names]
    n_loaded = forged_files.load_forged(sources, 200, 0, tmp_path)
    assert 0 < n_loaded < 100
