"""Generative adversarial networks from latents to images."""
