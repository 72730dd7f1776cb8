"""What a benchmark can judge: networks, functions of other people, folders of pictures, and references."""
