"""From a recipe, a net and images to a trained net in a run folder."""
