import numpy as np

from keras_mono._internal.tail_figures import own_phi, tail_figures


def summary(z: np.ndarray, variance_compensation: float = 0.01) -> dict[str, float]:
    """How monosemantic a layer's activations are, by their own statistics.

    φ of each activation is taken against the mean and unbiased variance of its neuron
    over the samples of `z`; every position of a sample is a neuron. The mean of φ is
    about 1 whatever the neurons do, so the tail is reported.

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1; the 2 % is L2E's (arXiv:2503.23298).

    Args:
        z: Activations, shape `(samples, ...)`, at least two samples. NaN and infinite
            entries are left out.
        variance_compensation: ε ≥ 0, as in the layers.

    Returns:
        A dict: `top1`, the largest φ of a sample, averaged over samples; `threshold`,
        the φ that 2 % of the activations exceed; `tail`, the share with φ ≥ 9;
        `kurtosis`, the mean of φ². NaN where nothing can be scored.

    Raises:
        ValueError: for fewer than two samples or no neurons.

    Example:

    >>> z = np.random.default_rng(0).normal(size=(1000, 20))
    >>> {name: round(value, 1) for name, value in km.analysis.summary(z).items()}
    {'top1': 4.9, 'threshold': 5.4, 'tail': 0.0, 'kurtosis': 2.9}
    """
    return tail_figures(own_phi(z, variance_compensation))
