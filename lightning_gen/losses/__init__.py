"""Pure functions from tensors to losses; they know nothing of networks or training."""
