"""Novel-view synthesis: Gaussians from features, rendering, training of the Gaussian head."""
