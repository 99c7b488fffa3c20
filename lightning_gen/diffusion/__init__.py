"""Diffusion and flows without networks or training: noise processes, what a network predicts of them, and samplers."""
