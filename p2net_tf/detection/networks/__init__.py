"""Detection networks, in Keras alone, and the mechanisms that they are built of, one a file."""
