import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.data import as_array
from keras_mono._internal.tail_figures import own_phi, tail_figures
from keras_mono.analysis.known import mean_known
from keras_mono.analysis.measures import without_labels


def summary(z: np.ndarray, variance_compensation: float = 0.01) -> dict[str, float]:
    """How monosemantic a layer's activations are, by their own statistics.

    φ of each activation is taken against the mean and unbiased variance of its neuron
    over the samples of `z`; its mean is about 1 for a neuron that varies, so the tail
    is reported. Dead neurons count with φ = 0 and lower these figures: half of them
    dead, a tail of 7.1 becomes 5.9. Compare layers with as many live ones.

    Every position of a sample is a neuron here, as for a layer with `axis=None`. To
    pool the positions, as `profile` and `measures` do, pass
    `z.reshape(-1, z.shape[-1])`.

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1; the 2 % is L2E's (arXiv:2503.23298).

    Args:
        z: Activations, shape `(samples, ...)`, at least two samples. NaN and infinite
            entries are left out.
        variance_compensation: ε ≥ 0, as in the layers.

    Returns:
        A dict: `top1`, the largest φ of a sample, averaged over samples; `threshold`,
        the φ that 2 % of the activations exceed; `tail`, the mean of the 2 % largest φ;
        `kurtosis`, the mean of φ²; and `hoyer`, `treves_rolls` and `wasserstein` as in
        `measures`, means over the neurons that change. NaN where nothing can be scored.

    Raises:
        ValueError: for fewer than two samples, no neurons, or an ε below 0.

    Example:

    >>> z = np.random.default_rng(0).normal(size=(1000, 20))
    >>> found = km.analysis.summary(z)
    >>> {name: round(found[name], 1) for name in ("top1", "threshold", "treves_rolls")}
    {'top1': 4.9, 'threshold': 5.4, 'treves_rolls': 0.4}
    """
    epsilon = validation.compensation("variance_compensation", variance_compensation)
    z = as_array(z)
    figures = tail_figures(own_phi(z, epsilon))
    measures = without_labels(z.reshape(len(z), -1))
    return figures | {name: mean_known(x) for name, x in measures.items()}
