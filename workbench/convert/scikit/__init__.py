"""Converts scikit-learn estimators and pipelines."""
