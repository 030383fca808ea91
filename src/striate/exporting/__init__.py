"""Export with its proof: a file is kept only where it answers as the model does."""
