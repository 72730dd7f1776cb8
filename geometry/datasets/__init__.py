"""Public data sets, one reader a file; `registry` knows them all."""
