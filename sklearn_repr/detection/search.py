"""What a search over detectors takes in place of a `score` method."""

from typing import Any, NoReturn

__all__ = ["no_score"]


def no_score(detector: Any) -> NoReturn:
    """Say which scorers a search may take; as a property it leaves `score` absent.

    Parameters
    ----------
    detector : object
        Whoever is asked for its score.

    Raises
    ------
    AttributeError
        Always, so that ``hasattr(detector, "score")`` is False, as for the detectors of
        scikit-learn: without labels there is no one score of a detector.

    Examples
    --------
    >>> from sklearn_repr.detection.search import no_score
    >>> no_score(object())
    Traceback (most recent call last):
    AttributeError: object has no score. ...
    """
    raise AttributeError(
        f"{type(detector).__name__} has no score. To score a detector, in GridSearchCV by"
        " scoring=..., take from sklearn_repr.inspection excess_mass_score or"
        " mass_volume_score without labels, or detection_score with labels."
    )
