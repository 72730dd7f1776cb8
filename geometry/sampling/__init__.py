"""From scenes to training samples: which views, at which size, augmented how."""
