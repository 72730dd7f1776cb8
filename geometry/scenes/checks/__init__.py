"""Do the cameras and the depth of a scene agree with themselves?"""
