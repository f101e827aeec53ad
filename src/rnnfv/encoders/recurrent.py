"""The RNN Fisher vector (SPEC S4, S5), and the hidden state it is compared with (S13)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnfv.encoders import _gradients as gradients
from rnnfv.encoders._layers import parameter_gradients
from rnnfv.encoders._next_step import NextStepEncoder
from rnnfv.normalization import fold
from rnnfv.sequences import Sequences
from rnnfv.training import Batch


class RNNFisherVector(NextStepEncoder):
    """Fisher vector of a recurrent net that predicts each sequence's next element.

    ``fit`` trains the net, without labels, to predict x_{i+1} from x_1..x_i. ``transform`` represents a
    sequence by the gradient of the net's loss on it with regard to the output layer: for squared error
    dL/dW = sum_i (v_i - x_{i+1}) h_i^T and dL/db = sum_i (v_i - x_{i+1}), a sum of outer products that needs
    no backward pass. Order matters to it, where mean pooling and mixtures are blind to order. Follow it with
    `PowerNormalizer` (and before that `FisherInformationScaler`) and a linear classifier.

    Parameters
    ----------
    objective : {"regression", "classification"}
        Predict the next vector (SPEC S4) or the next symbol (S5). The latter needs sequences of integer
        symbols and ``vectors``.
    hidden_size : int
        Units of the recurrent part, H (paper: 200 for videos, 100 and 512 for sentences).
    projection_size : int or None
        Units of a linear layer with LeakyReLU(0.1) before it (paper: 200 for videos, none for sentences).
    cell : {"lstm", "gru"}
    num_layers : int
    dropout : float
        Share of units dropped before and after the recurrent part while training (paper: up to 0.95).
    weight_decay, learning_rate, max_grad_norm : float
        Of Adam; gradients are clipped to that norm.
    batch_size : int
        Sequences of one training step.
    max_epochs : int
        0 leaves the net as it was drawn: a random net is a good encoder too where `FisherInformationScaler` follows.
    early_stopping : {"auto", "probe", "loss", None}
        What is judged after every epoch on a validation part of the training sequences, the best epoch being
        kept: "probe", the accuracy of a linear classifier on the vectors (SPEC S10; needs ``y``); "loss", the
        likelihood of the sequences; None, nothing, the last epoch is kept and all sequences train. "auto" is
        "probe" where ``fit`` gets labels, else "loss".
    patience : int or None
        Stop after so many epochs without a new best; None runs all.
    validation_fraction : float
        Share of the sequences in the validation part; no group is on both sides.
    probe : estimator, optional
        The classifier of "probe". Default: `PowerNormalizer` and a linear SVM with C = 1.
    gradient : "output", "all", str or list of str
        Whose gradients: the output layer's in closed form; all parameters' or those of the named
        parameters of ``network_``, by automatic differentiation (SPEC S13b).
    pooling : {"mean", "sum"}
        Mean or sum over the steps.
    vectors : ndarray of shape (V, D), optional
        The vector of each symbol, for sequences of symbols.
    n_symbols : int, optional
        Symbols from this number on are inputs but no targets, M; default V.
    coordinates : int, optional
        Keep so many random coordinates of the output layer's gradient (paper: 72,000 of M (H + 1)); only
        those are computed.
    device : str
        "auto" is a GPU where there is one.
    dtype : {"float32", "float64"}
        Of the net and of the vectors.
    random_state : int, RandomState instance or None
    verbose : bool
        Show a progress bar with the loss and the judgement.

    Attributes
    ----------
    network_ : NextStepNetwork
        Maps inputs (batch, time, D) to predictions (batch, time, D or M); ``network_.output`` is the layer
        whose gradient is taken. In evaluation mode.
    history_ : dict of list of float
        Per epoch: "loss" on the training sequences, "validation" the judgement.
    best_epoch_ : int
        The epoch that was kept, from 1.
    coordinates_ : ndarray of int64 or None
        Flat indices of the sampled coordinates, ascending.
    n_left_out_ : int
        Training steps without a target, because their symbol is not among the M.
    n_features_in_ : int
        Values a step, D.

    Notes
    -----
    A vector has D (H + 1) numbers, vec([dL/dW, dL/db]): output unit after output unit, each with its H weights
    and then its bias. It depends on its own sequence alone, not on the batch. Encoding costs about as much as the
    net's forward pass: for n steps 2 n (4 H (H + P) + 2 H D) operations, and memory for the result, n_sequences *
    D * (H + 1) numbers, and one batch.

    References
    ----------
    G. Lev, G. Sadeh, B. Klein, L. Wolf. RNN Fisher Vectors for Action Recognition and Image Annotation.
    ECCV 2016. arXiv:1512.03958.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import RNNFisherVector
    >>> rng = np.random.default_rng(0)
    >>> seqs = [rng.normal(size=(n, 3)) for n in (5, 8, 6, 7)]
    >>> encoder = RNNFisherVector(hidden_size=4, projection_size=None, max_epochs=2, random_state=0).fit(seqs)
    >>> encoder.transform(seqs).shape  # 3 outputs, each with 4 weights and a bias
    (4, 15)
    """

    _poolings = ("mean", "sum")

    @torch.inference_mode()
    def _encode(self, seqs: Sequences) -> NDArray[Any]:
        vectors = np.empty(
            (len(seqs), self._n_features_out), str(self.network_.output.weight.dtype).removeprefix("torch.")
        )
        is_sampled = self.gradient == "output" and self.coordinates_ is not None
        whole = self.gradient == "output" and not is_sampled
        places = torch.from_numpy(vectors)
        names = self._parameter_names() if self.gradient != "output" else []
        folded = places.view(len(seqs), self._n_outputs, self._n_hidden + 1) if whole else places
        for indices, batch in self._each_batch(seqs, self._n_features_out if is_sampled else 0):
            lengths, rows = seqs.lengths[indices].tolist(), [folded[i] for i in indices.tolist()]
            if whole:
                errors, hidden = self._errors_and_hidden(batch)
                gradients.linear_gradient(errors, hidden, lengths, rows)
            elif is_sampled:
                places[torch.from_numpy(indices)] = self._sampled_gradient(batch).cpu()
            else:
                parameter_gradients(self.network_, names, batch, self._weights(batch), lengths, rows)
        return fold(vectors, self._n_outputs) if whole else vectors

    def _errors_and_hidden(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The two sides of the output layer's gradient: (batch, time, out), weighted for pooling, and (.., H + 1)."""
        hidden = self.network_.hidden(batch.inputs)
        errors = gradients.output_errors(self.network_.output(hidden), batch)
        return errors.mul_(self._weights(batch)[:, None, None]), gradients.with_bias(hidden)

    def _weights(self, batch: Batch) -> torch.Tensor:
        """What each sequence's summed gradient is multiplied with: (batch,)."""
        steps = batch.mask.sum(dim=1).clamp(min=1).to(batch.inputs.dtype)
        return 1 / steps if self.pooling == "mean" else torch.ones_like(steps)

    def _sampled_gradient(self, batch: Batch) -> torch.Tensor:
        """Sampled coordinates of the output layer's gradient: (batch, s)."""
        errors, hidden = self._errors_and_hidden(batch)
        rows, columns = np.divmod(np.asarray(self.coordinates_), self._n_hidden + 1)
        places = (torch.from_numpy(rows).to(errors.device), torch.from_numpy(columns).to(errors.device))
        return gradients.sampled_output_gradient(errors, hidden, *places)

    def _parameter_names(self) -> list[str]:
        known = [name for name, _ in self.network_.named_parameters()]
        names = known if self.gradient == "all" else np.atleast_1d(self.gradient).tolist()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"the net has no parameter {unknown[0]!r}: choose among {', '.join(known)}")
        if not names or len(set(names)) < len(names):
            raise ValueError(f"gradient is {self.gradient}: name one parameter or more, each once")
        return names

    @property
    def _n_features_out(self) -> int:
        if self.gradient != "output":
            sizes = {name: weights.numel() for name, weights in self.network_.named_parameters()}
            return sum(sizes[name] for name in self._parameter_names())
        if self.coordinates_ is not None:
            return len(self.coordinates_)
        return self._n_outputs * (self._n_hidden + 1)

    def explain(self, sequence: Any, class_weights: Any, normalizers: Any = ()) -> NDArray[Any]:
        """How much each step adds to a linear decision.

        The vector is a sum over steps, so a decision w . vector is one too.

        Parameters
        ----------
        sequence : ndarray of shape (N, D) or (N,) int
        class_weights : array-like of shape (F,) or (C, F)
            Weights of a linear decision over the F coordinates of the (normalised) vector, such as
            ``LinearSVC.coef_``.
        normalizers : sequence of fitted estimators
            What stands between the encoder and the decision, in order; each must have ``pull_back``, as
            `PowerNormalizer` and `FisherInformationScaler` do.

        Returns
        -------
        ndarray of shape (N,) or (C, N)
            Sums over the steps to ``class_weights @ normalised vector`` (the intercept is not included).

        Raises
        ------
        ValueError
            If the encoder uses other gradients than the whole output layer's.
        """
        if self.gradient != "output":
            raise ValueError("explain needs gradient='output'")
        vectors = [self.transform([sequence])]
        for normalizer in normalizers:
            vectors.append(normalizer.transform(vectors[-1]))
        weights = np.atleast_2d(np.asarray(class_weights, dtype=np.float64))
        for vector, normalizer in zip(reversed(vectors[:-1]), reversed(normalizers), strict=True):
            weights = normalizer.pull_back(vector[0], weights)
        shares = self._step_shares(sequence, weights)
        return shares[0] if np.ndim(class_weights) == 1 else shares

    @torch.inference_mode()
    def _step_shares(self, sequence: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """weights (C, F) . gradient of each single step: (C, N)."""
        ((_, batch),) = self._each_batch(self._check_transform([sequence], self.vectors))
        errors, inputs = (side[0].double().cpu().numpy() for side in self._errors_and_hidden(batch))
        full = np.zeros((len(weights), errors.shape[1] * inputs.shape[1]))
        full[:, slice(None) if self.coordinates_ is None else self.coordinates_] = weights
        folded = full.reshape(len(weights), errors.shape[1], inputs.shape[1])
        return np.einsum("td,cdh,th->ct", errors, folded, inputs, optimize=True)


class RNNHiddenState(NextStepEncoder):
    """The hidden state of the same net: the baseline of SPEC S13.

    Parameters are those of `RNNFisherVector`, of which ``gradient`` and ``coordinates`` do nothing here.

    Parameters
    ----------
    pooling : {"mean", "last"}
        The mean of a sequence's hidden states, or the one that predicts its last step.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import RNNHiddenState
    >>> seqs = np.random.default_rng(0).normal(size=(4, 6, 3))
    >>> RNNHiddenState(hidden_size=5, max_epochs=1, random_state=0).fit_transform(seqs).shape
    (4, 5)
    """

    _poolings = ("mean", "last")

    def _encode(self, seqs: Sequences) -> NDArray[Any]:
        states = self._per_step(seqs, lambda batch: self.network_.hidden(batch.inputs))
        return np.stack([s.mean(axis=0) if self.pooling == "mean" else s[-1] for s in states])

    @property
    def _n_features_out(self) -> int:
        return self._n_hidden
