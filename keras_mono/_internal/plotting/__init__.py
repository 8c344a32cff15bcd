"""How pictures look, and the one that a callback draws."""
