"""Whole guests, booted as users boot them."""
