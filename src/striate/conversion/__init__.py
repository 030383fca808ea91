"""Modules of other people -> a Net and its tensors."""
