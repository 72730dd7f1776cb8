"""How near predictions are to the truth: functions of tensors, one file per kind."""
