"""A fit that fails leaves the estimator as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["restored_on_failure"]


@contextmanager
def restored_on_failure(estimator: object) -> Iterator[None]:
    """Put back every attribute of `estimator` if the block raises.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sklearn_repr.utils.state import restored_on_failure
    >>> estimator = SimpleNamespace(offset_=1)
    >>> try:
    ...     with restored_on_failure(estimator):
    ...         estimator.offset_ = 2
    ...         raise ValueError
    ... except ValueError:
    ...     estimator.offset_
    1
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
