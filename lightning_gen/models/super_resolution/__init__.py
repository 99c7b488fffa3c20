"""Super-resolution: larger images from small ones."""
