"""Training and inference: the only place that knows skorch."""

from sklearn_repr.engine.inference import evaluate, infer
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.engine.training import TrainingSettings, train

__all__ = ["RepresentationNet", "TrainingSettings", "evaluate", "infer", "train"]
