"""JointEmbeddingPredictor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn_repr.estimators._joint_embedding import BaseJointEmbedding

__all__ = ["JointEmbeddingPredictor"]


class JointEmbeddingPredictor(BaseJointEmbedding):
    r"""Embedding learned by predicting the embeddings of what is hidden.

    JEPA on rows: a row is cut into patches (columns of a table, squares of an image,
    windows of a sequence), some of which are hidden. A transformer φ gathers the visible
    ones in a code; a predictor g is told where a hidden one stands and predicts from the
    code what a slower copy :math:`\bar\phi` of the transformer, which sees the whole row,
    makes of it:

    .. math:: \frac{1}{|m_i|} \sum_{t \in m_i}
              \rho\big(g(\phi(x_{i, \setminus m_i}), t) - \bar\phi(x_i)_t\big)

    where targets are standardised over the rows of a batch and have no gradient. Nothing
    is rebuilt: what cannot be predicted of a cell, its noise, need not be kept.

    `transform` joins the row, the tokens that :math:`\bar\phi` makes of all of it, and
    its code: three blocks of equal total variance, of which it returns the first
    principal components, not whitened but turned so that all have the same variance.

    Parameters
    ----------
    n_components : int, default=128
        Width of the embedding. Where rows do not vary along as many axes, those there
        are are spread over all components.
    scaling : str or None, default="standard"
        How columns are made comparable: "standard", "robust" and "quantile" by
        scikit-learn's scaler of that name, "value_and_rank" by the mean of standardised
        value and standardised rank. None leaves them as they are, which suits images.
    input_shape : tuple of int or None, default=None
        What a row is: (channels, height, width) or (channels, length); patches or windows
        of it are hidden and predicted. None hides single columns.
    patch_size : int, default=4
        Side of a patch or length of a window; without `input_shape`, of no effect.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Width of the tokens, one entry per block of the transformer, all the same multiple
        of 16; "auto" is (32, 32). The code is four times as wide (less if there are fewer
        patches), the predictor twice.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    loss : {"smooth_l1", "squared_error"}, default="smooth_l1"
        ρ per entry: smooth L1, as in I-JEPA's code, or the square, as in its paper.
    momentum : float, default=0.999
        The target is a moving average of the transformer's weights. Its momentum rises
        from this to 1 over `max_iter` epochs by half a cosine; 0 copies the weights at
        first.
    variance_weight : float, default=0.0
        Weight of a guard against collapse: how far the columns of the code fall short of
        unit standard deviation in a batch, as in VICReg.
    mask_ratio : float or (float, float), default=(0.2, 0.6)
        Share of a row's cells, patches or windows to hide in training, at least one and
        not all. A range (low, high) is drawn from, uniformly, for every row; one that
        comes close to zero teaches the network what whole rows look like.
    masking : {"random", "block"}, default="random"
        Which patches or windows are hidden, with `input_shape`: "random" draws them one
        by one; "block" hides about the share `mask_ratio` in up to four blocks of
        neighbours, for images of an aspect between 0.75 and 1.5, and what is outside a
        block of at least 85% of the image, as I-JEPA does. Columns of tables have no
        neighbours and are drawn one by one.
    alpha : float, default=0.0
        Weight decay: adds alpha · W to the gradient of every weight matrix W, as the
        penalty alpha / 2 · ‖W‖² would ("adamw" decouples it from the gradient).
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adam"
        A torch optimizer class, or a function of parameter groups and `lr`.
    learning_rate : {"constant", "one_cycle"}, default="one_cycle"
        "one_cycle" starts at a 25th of `learning_rate_init`, reaches it after 30% of all
        steps and falls to next to nothing, by half cosines; training then runs all its
        epochs, whatever the loss does. "constant" is for schedulers among `callbacks`.
    learning_rate_init : float, default=0.003
        Learning rate; a skorch ``LRScheduler`` among `callbacks` can vary it.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" grows with the table, from 64 to 256.
    max_iter : int, default=50
        Most epochs to train.
    early_stopping : bool, default=False
        Hold out a random share of the rows, stop when the loss on them no longer
        improves, and keep the weights that were best. Without it, or with too few rows
        to hold any out, the training loss decides when to stop.
    validation_fraction : float, default=0.1
        Share of rows to hold out, rounded down.
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.
    tol : float, default=0.0001
        An improvement lowers the loss by more than `tol` times its magnitude.
    warm_start : bool, default=False
        Continue from the last fit's weights and scaling instead of starting anew.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks, or pairs (name, callback); copied before training.
    device : str, default="auto"
        "auto" takes CUDA where there is one and the CPU otherwise; or a name of torch's.
    dtype : {"float32", "float64", "bfloat16"}, default="float32"
        Precision of the computation. "bfloat16" trains in mixed precision where the
        device computes in it, with weights in float32, and is "float32" elsewhere;
        rows are always mapped and scored in float32 then.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, shuffling, held-out rows and hidden cells. None differs from call
        to call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    n_components_ : int
        Width of the embedding.
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch, unweighted: "train_prediction", ...
    best_loss_ : float
        Lowest training loss.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    Warns
    -----
    CollapseWarning
        If the embeddings of all rows became nearly the same, or vary along a small part
        of the directions that they had before training.

    See Also
    --------
    MaskedAutoencoder : Predicts the hidden cells themselves, and imputes.
    ContrastiveEmbedder : Compares views of whole rows.

    Notes
    -----
    The loss is no judge of the embedding, for a collapsed one is the easiest to predict.
    So it neither ends training nor chooses weights: with `early_stopping` held-out rows
    only give a curve to look at.

    In I-JEPA the predictor sees all visible tokens and targets are normalised over their
    entries. On tables of a few hundred rows that taught a probe nothing that it did not
    find in an untrained network: most of a token is its position, and tokens that pass
    their cells on have no need to say what cells share. Here targets are what differs
    from row to row, and all that the predictor knows has to pass through one code.
    What came of it, beside raw features, PCA and an untrained network, stands in
    ``docs/developer/representation_joint.md``: linear probes gain by it, most on tables
    and with all labels; neighbours are better found among raw columns or principal
    components. Images want ``scaling=None`` with values of the order of 1, and patches of
    a fourth to an eighth of their side.

    A table of one column has nothing to predict its only patch from. With two columns,
    one predicts the other.

    References
    ----------
    Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023, arXiv:2301.08243.

    Thimonier et al., "T-JEPA: augmentation-free self-supervised learning for tabular
    data", ICLR 2025, arXiv:2410.05016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import JointEmbeddingPredictor
    >>> X = load_iris().data
    >>> embedder = JointEmbeddingPredictor(8, max_iter=20, random_state=0)
    >>> embedder.fit_transform(X).shape
    (150, 8)
    """

    def __init__(
        self,
        n_components: int = 128,
        *,
        scaling: str | None = "standard",
        input_shape: Any = None,
        patch_size: int = 4,
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        loss: str = "smooth_l1",
        momentum: float = 0.999,
        variance_weight: float = 0.0,
        mask_ratio: float | tuple[float, float] = (0.2, 0.6),
        masking: str = "random",
        alpha: float = 0.0,
        optimizer: str | Callable[..., Any] = "adam",
        learning_rate: str = "one_cycle",
        learning_rate_init: float = 0.003,
        batch_size: int | str = "auto",
        max_iter: int = 50,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        callbacks: list[Any] | None = None,
        device: str = "auto",
        dtype: str = "float32",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.scaling = scaling
        self.input_shape = input_shape
        self.patch_size = patch_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.loss = loss
        self.momentum = momentum
        self.variance_weight = variance_weight
        self.mask_ratio = mask_ratio
        self.masking = masking
        self.alpha = alpha
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
