"""The network: backbone, heads, cameras, variants and checkpoints."""
