"""Photos to Gaussians: backbone features, the Gaussian head, and what its channels mean."""
