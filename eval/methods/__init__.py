"""What a benchmark evaluates: networks, external functions, folders of pictures, and references."""
