"""Noise, schedules, samplers and the denoisers they call."""
