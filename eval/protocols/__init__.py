"""What a benchmark fixes: which views are given, which are judged, at which size and from which pose."""
