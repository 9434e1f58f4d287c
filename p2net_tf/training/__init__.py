"""`PoseModel`, the training loop and what it needs."""
