"""Parts that several packages share."""
