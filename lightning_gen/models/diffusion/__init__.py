"""Diffusion models, flow matching and consistency models."""
