"""Which cells of a row are wrong, when a wrong cell makes right ones look wrong too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["blame"]

Rows = NDArray[np.float64]
Known = NDArray[np.bool_]

# Cells of a row that are tried at a time: those with the largest errors
CANDIDATES = 6
# The errors of a row must fall by this many usual errors of a cell
LEAST_FALL = 1.0


def blame(
    rows: Rows,
    known: Known,
    *,
    linear: Rows,
    cells: NDArray[np.int64],
    residuals: Callable[[Rows], Rows],
    errors: Callable[[Rows, NDArray[np.intp]], Rows],
) -> Rows:
    """Share the errors of a row among the cells that cause them.

    A wrong cell is far from what the others expect, and as the others are expected from
    it, these look wrong too. The cell whose replacement makes the errors of all cells of
    its row fall most is blamed for that fall, and the search goes on in the row with
    this cell replaced, until nothing falls by much. What is left are the cells' own
    errors.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Encoded rows without holes.
    known : bool ndarray of shape (n, d)
        Cells that are not missing.
    linear : ndarray of shape (D, D)
        How residuals follow rows, roughly; here to choose the cell by.
    cells : int64 ndarray of shape (D,)
        Number of the cell that each column belongs to.
    residuals : callable
        Of rows (n, D), what is not expected of them, (n, D).
    errors : callable
        Of residuals (n, D) and the positions of their rows, the errors (n, d) of cells,
        in units of what is usual.

    Returns
    -------
    blamed : ndarray of shape (n, d)
        Not negative; 0 where a cell is missing.

    Examples
    --------
    The second and the third column are ten times the first, in which there is an error:

    >>> import numpy as np
    >>> from sklearn_repr.detection.blame import blame
    >>> linear = np.eye(3) - np.array([[0, 5, 5], [0.05, 0, 0.5], [0.05, 0.5, 0]])
    >>> row, known = np.array([[3.0, 10.0, 10.0]]), np.ones((1, 3), bool)
    >>> np.abs(row @ linear)
    array([[ 2., 10., 10.]])
    >>> blame(
    ...     row, known, linear=linear, cells=np.arange(3),
    ...     residuals=lambda rows: rows @ linear,
    ...     errors=lambda residuals, rows: np.abs(residuals),
    ... )
    array([[22.,  0.,  0.]])
    """
    rows, left = rows.copy(), known.copy()
    blamed = np.zeros(known.shape)
    missed = residuals(rows)
    found = np.where(left, errors(missed, np.arange(len(rows))), 0.0)
    active = np.arange(len(rows))
    for _ in range(known.shape[1]):
        cell, fall = _largest_fall(missed, found, left, active, linear, cells, errors)
        active, cell = active[fall > LEAST_FALL], cell[fall > LEAST_FALL]
        if not len(active):
            break
        mine = cells == cell[:, None]
        rows[active] -= np.where(mine, missed[active], 0.0)
        left[active, cell] = False
        missed[active] = residuals(rows[active])
        before = found[active].sum(axis=1)
        now = np.where(left[active], errors(missed[active], active), 0.0)
        found[active] = now
        blamed[active, cell] = np.maximum(before - now.sum(axis=1), 0.0)
    return blamed + found


def _largest_fall(
    missed: Rows,
    found: Rows,
    left: Known,
    active: NDArray[np.intp],
    linear: Rows,
    cells: NDArray[np.int64],
    errors: Callable[[Rows, NDArray[np.intp]], Rows],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the best cell of each active row, and how far the errors would fall."""
    own = np.where(left, found, -1.0)[active]
    tried = np.argsort(-own, axis=1, kind="stable")[:, :CANDIDATES]
    falls = np.full(own.shape, -np.inf)
    for cell in range(own.shape[1]):
        at = np.flatnonzero((tried == cell).any(axis=1) & left[active, cell])
        if not len(at):
            continue
        i, mine = active[at], np.flatnonzero(cells == cell)
        # a sum of few products, whose bits do not depend on the number of rows
        moved = (missed[i][:, mine, None] * linear[mine]).sum(axis=1)
        after = np.where(left[i], errors(missed[i] - moved, i), 0.0)
        after[:, cell] = 0.0
        falls[at, cell] = found[i].sum(axis=1) - after.sum(axis=1)
    best = falls.argmax(axis=1)
    return best, np.take_along_axis(falls, best[:, None], axis=1)[:, 0]
