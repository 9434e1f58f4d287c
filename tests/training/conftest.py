"""A training that takes seconds."""

from tiny_runs import plain_keras, quick_train, rendered, tiny  # noqa: F401
