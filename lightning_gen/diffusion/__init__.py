"""Noise processes, schedules, preconditioning, samplers and likelihoods, independent of training."""
