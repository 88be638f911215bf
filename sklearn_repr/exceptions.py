"""Errors of the package; each inherits the class that scikit-learn would raise."""

__all__ = [
    "CannotSaveError",
    "CollapseWarning",
    "InvalidFileError",
    "NewerFileError",
    "NonFiniteLossError",
]


class CannotSaveError(TypeError):
    """An estimator holds what a file of `save` does not carry, such as a function."""


class InvalidFileError(ValueError):
    """A file is damaged, or is none that `save` has written."""


class NewerFileError(InvalidFileError):
    """A file has a format of a later version of the package."""


class CollapseWarning(UserWarning):
    """The representation says little or nothing about the rows."""


class NonFiniteLossError(ValueError):
    """The training loss became infinite or NaN.

    Parameters
    ----------
    epoch : int
        Epoch, counted from 1, at whose end the loss was found not to be finite.
    learning_rate : float
        Learning rate in that epoch.
    column : str
        The column with the largest encoded value, the likeliest cause.
    largest : float
        Its largest absolute encoded value.
    """

    def __init__(self, epoch: int, learning_rate: float, column: str, largest: float):
        super().__init__(epoch, learning_rate, column, largest)
        self.epoch = epoch
        self.learning_rate = learning_rate
        self.column = column
        self.largest = largest

    def __str__(self) -> str:
        return (
            f"The training loss is not finite after epoch {self.epoch} at learning rate"
            f" {self.learning_rate:g}. The worst column is {self.column}, with an"
            f" encoded value as large as {self.largest:.3g}. Lower learning_rate_init,"
            " choose scaling='robust' or 'quantile', or clip that column."
        )
