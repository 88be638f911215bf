"""Types of columns, and levels that are no numbers or text, as plain values and back.

A file holds them as names and lists: see :mod:`sklearn_repr.engine.portable`.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import pandas as pd

from sklearn_repr.utils.optional import import_optional

__all__ = ["from_plain", "to_plain"]

# pandas' own types that have no values of their own, and arrow's
PANDAS_NAMES = re.compile(r"U?Int\d+|Float\d+|boolean|str|string(\[(python|pyarrow)\])?")
ARROW_NAMES = re.compile(r"u?int\d+|float|halffloat|double|bool|(large_)?string")
POLARS_NAMES = re.compile(r"U?Int\d+|Float\d+|Boolean|String|Categorical")


def to_plain(value: Any) -> list[Any] | None:
    """Return what is at hand of a type or level as plain values, None where it is not.

    Parameters
    ----------
    value : object
        A type of pandas or polars, a date, an interval.

    Returns
    -------
    plain : list or None
        A word that says what it is, and what it is made of: text, numbers, lists, NumPy's
        types, or what this function makes plain.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_repr.data.dtypes import from_plain, to_plain
    >>> to_plain(pd.Interval(0, 1))
    ['interval', 0, 1, 'right']
    >>> from_plain(['interval', 0, 1, 'right'])
    Interval(0, 1, closed='right')
    """
    plain: list[Any] | None = None
    if isinstance(value, pd.CategoricalDtype):
        labels = value.categories
        if labels is None:
            return ["categories", None, None, bool(value.ordered)]
        return ["categories", labels.tolist(), labels.dtype, bool(value.ordered)]
    if isinstance(value, pd.IntervalDtype):
        return ["intervals", value.subtype, value.closed]
    if isinstance(value, pd.Interval):
        return ["interval", value.left, value.right, value.closed]
    if isinstance(value, pd.Timestamp):
        plain = ["timestamp", value.isoformat(), value.unit] if value.tz is None else None
    elif type(value) is datetime.date:
        return ["date", value.toordinal()]
    elif isinstance(value, pd.ArrowDtype):
        plain = _arrow_to_plain(value)
    elif isinstance(value, pd.api.extensions.ExtensionDtype):
        plain = ["pandas", str(value)]
    elif type(value).__module__.partition(".")[0] == "polars":
        name = type(value).__name__
        if name == "Enum":
            return ["enum", value.categories.to_list()]
        plain = ["polars", name]
    if plain is None:
        return None
    try:
        return plain if from_plain(plain) == value else None
    except (ValueError, TypeError):
        return None


def from_plain(plain: list[Any]) -> Any:
    """Return the type or level that :func:`to_plain` made plain values of.

    Parameters
    ----------
    plain : list
        What `to_plain` returned; of parts, what they were.

    Returns
    -------
    value : object
        The type or level.

    Raises
    ------
    ValueError
        If these are no such values, or a type has another name than those known here.
    """
    word, *parts = plain
    if word in ("categories", "enum") and not isinstance(parts[0], list | None):
        raise ValueError("labels must be a list.")
    if word == "categories":
        labels, dtype, ordered = parts
        index = None if labels is None else pd.Index(labels, dtype=dtype)
        return pd.CategoricalDtype(index, ordered=ordered)
    if word == "intervals":
        return pd.IntervalDtype(*parts)
    if word == "interval":
        return pd.Interval(*parts)
    if word == "timestamp":
        text, unit = parts
        return pd.Timestamp(text).as_unit(unit)
    if word == "date":
        return datetime.date.fromordinal(*parts)
    if word == "pandas":
        return pd.api.types.pandas_dtype(_known(PANDAS_NAMES, *parts))
    if word in ("arrow", "arrow_dictionary"):
        return _arrow_from_plain(word, parts)
    if word in ("polars", "enum"):
        name = "Enum" if word == "enum" else _known(POLARS_NAMES, *parts)
        polars = import_optional("polars", extra="polars", purpose="A frame of polars")
        return getattr(polars, name)(*(parts if word == "enum" else ()))
    raise ValueError(f"There is no type {word!r}.")


def _known(names: re.Pattern[str], name: str) -> str:
    if not names.fullmatch(name):
        raise ValueError(f"There is no type {name!r}.")
    return name


def _arrow_to_plain(dtype: pd.ArrowDtype) -> list[Any]:
    arrow: Any = dtype.pyarrow_dtype
    if hasattr(arrow, "value_type") and hasattr(arrow, "index_type"):
        kinds = str(arrow.index_type), str(arrow.value_type)
        return ["arrow_dictionary", *kinds, bool(arrow.ordered)]
    return ["arrow", str(arrow)]


def _arrow_from_plain(word: str, parts: list[Any]) -> pd.ArrowDtype:
    names = [_known(ARROW_NAMES, name) for name in parts[:2]]
    arrow = import_optional("pyarrow", extra="parquet", purpose="A frame of pyarrow")
    kinds = [arrow.type_for_alias(name) for name in names]
    if word == "arrow":
        return pd.ArrowDtype(*kinds)
    return pd.ArrowDtype(arrow.dictionary(*kinds, ordered=parts[2]))
