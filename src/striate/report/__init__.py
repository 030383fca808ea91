"""Metrics, pictures and audits as pages that open anywhere."""
