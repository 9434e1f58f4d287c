"""`p2net app`: a page on this machine that shows the poses, heatmaps and gates of one's own photos."""
