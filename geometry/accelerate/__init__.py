"""What makes a built network fast on a machine: applied to it, never written into it."""
