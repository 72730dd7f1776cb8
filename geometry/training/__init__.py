"""Training the geometry models: data, losses and scores.

Read `student` first: it is the method. `architecture`, `initialise` and `labels` are what surrounds it;
`monocular` trains the teacher, the monocular and the metric model.
"""
