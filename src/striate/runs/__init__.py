"""The room that joins all before it: from a data set to a run, its model and its report."""
