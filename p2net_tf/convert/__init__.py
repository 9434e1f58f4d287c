"""Published PyTorch weights as Keras networks (`p2net import-weights`)."""
