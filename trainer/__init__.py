"""Objectives, batches, the trainer and its recipes."""
