"""How good a prediction is, and what it was bought with."""
