"""Inputs that are wrong on purpose: what can be loaded, and how it is spoilt."""
