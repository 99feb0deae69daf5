"""What `label` and `predict` are made of."""
