"""Auto-Pose: augmentation policies learned by gradient (section 3.4)."""
