"""Operations on crops and keypoints, policies of them, and the hand-crafted augmentation."""
