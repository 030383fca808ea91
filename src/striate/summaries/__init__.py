"""What is said of a net before it is trained: sizes, parameters, MACs, memory, comparison, drawing."""
