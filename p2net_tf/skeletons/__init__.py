"""Which keypoints a data set has, their cards, and how they are drawn."""
