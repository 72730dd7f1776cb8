"""What a benchmark fixes: which views are given, which are scored, at which size and from which pose."""
