"""Fourteen bad inputs, and what the user is told about each."""
