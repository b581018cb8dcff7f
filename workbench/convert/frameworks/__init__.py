"""Converts Keras, TensorFlow and jax models."""
