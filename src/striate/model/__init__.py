"""A trained model: opening it, predicting with it, published weights. Nothing here imports torch."""
