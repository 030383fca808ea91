"""What is wrong with a data set: the audit, near duplicates, label errors."""
