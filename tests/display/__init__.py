"""Screens and their viewers."""
