"""Pure tensor functions: no modules, files or config."""
