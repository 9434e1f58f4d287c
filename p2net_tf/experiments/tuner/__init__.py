"""keras-tuner over the same space as Auto-Pose."""
