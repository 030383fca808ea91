"""From a recipe, a net and images to a trained model in a run folder."""
