"""Plain modules from tensor to tensor; they know nothing of training."""
