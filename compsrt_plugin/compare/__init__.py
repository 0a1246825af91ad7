"""Compare networks: the same images, the same metrics, paired statistics, and one HTML page."""
