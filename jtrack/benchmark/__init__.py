"""Evaluation: metrics, results and published numbers."""
