"""Training data for novel views: which views are given, which are to be rendered."""
