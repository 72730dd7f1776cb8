"""Training the geometry models: what they see, what they are judged by, and how they are scored.

Read `student` first: it is the method. `architecture`, `initialise` and `labels` are what surrounds it;
`monocular` trains the teacher, the monocular and the metric model.
"""
