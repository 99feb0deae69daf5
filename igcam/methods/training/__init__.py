"""Training of networks and heads."""
