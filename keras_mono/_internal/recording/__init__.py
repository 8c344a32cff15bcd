"""Reading the activations and masks of a model while it runs on data."""
