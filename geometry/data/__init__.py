"""Scenes: photos with or without cameras, from folders, videos and data sets."""
