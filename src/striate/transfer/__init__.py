"""From a published net and a few photographs to a trained net, by a new head and fine-tuning."""
