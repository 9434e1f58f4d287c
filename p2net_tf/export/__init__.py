"""A trained network as files that others run: a SavedModel from JPEG bytes to keypoints, and TFLite."""
