"""Comparing runs: their settings, scores, curves and pictures, as text, as a picture and as a page."""
