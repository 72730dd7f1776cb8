"""The commands of `nvs-eval`."""
