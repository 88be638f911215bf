"""Optional packages: imported where they are used, with one message."""

from importlib import import_module
from typing import Any

__all__ = ["import_optional"]


def import_optional(module: str, *, extra: str, purpose: str) -> Any:
    """Import an optional package or say which extra brings it.

    Parameters
    ----------
    module : str
        Name of the module to import.
    extra : str
        The extra of this package that installs it.
    purpose : str
        What it is needed for; begins the message.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If the module is not installed.

    Examples
    --------
    >>> from sklearn_repr.utils.optional import import_optional
    >>> import_optional("json", extra="plot", purpose="Plotting").__name__
    'json'
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module.split('.')[0]}, which is not installed:"
            f" pip install 'sklearn_repr[{extra}]'"
        ) from error
