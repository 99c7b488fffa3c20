"""Autoencoders: plain, denoising, Wasserstein, adversarial, variational and vector-quantised."""
