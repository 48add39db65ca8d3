"""Machines, scripted and real."""
