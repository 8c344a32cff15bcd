"""What several test modules use: models, data, steps, oracles."""
