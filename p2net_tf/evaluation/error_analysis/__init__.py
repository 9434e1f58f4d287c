"""Which keypoints are wrong in which way, and how much AP each kind of error costs."""
