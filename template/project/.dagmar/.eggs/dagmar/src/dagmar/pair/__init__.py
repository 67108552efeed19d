"""`dagmar.Pair`: the notebook side of an asset or a job, and its widgets."""
