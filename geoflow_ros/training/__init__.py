"""Training: losses, trainer, and where training pairs come from."""
