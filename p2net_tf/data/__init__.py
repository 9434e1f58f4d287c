"""Readers, checks and the input pipeline."""
