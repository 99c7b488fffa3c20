"""Neural networks: plain ``nn.Module`` classes, independent of training."""
