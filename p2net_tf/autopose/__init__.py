"""Auto-Pose: learns an augmentation policy by gradient (section 3.4), and compares it with others."""
