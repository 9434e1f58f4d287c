"""P2Net: top-down human pose estimation for Keras."""

__version__ = "0.1.0"
