"""Photos and cameras of one place, whatever they were stored as, in one form: `Frame` and `Scene`."""
