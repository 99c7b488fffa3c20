"""Loss functions of tensors, independent of networks and training."""
