"""Feed-forward geometry: the Depth Anything 3 depth-ray model, its operations, losses and training."""
