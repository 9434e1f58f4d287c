"""Rendered people: poses, figures and scenery."""
