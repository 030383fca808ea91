"""striate: design, train, look inside and ship convolutional image classifiers."""
