"""Boxes of objects in pictures: from annotation files to batches."""
