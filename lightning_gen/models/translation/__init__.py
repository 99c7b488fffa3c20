"""Models that make images from images of another domain."""
