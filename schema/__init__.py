"""What callers can say and what we answer: requests, settings, results, infotext, errors."""
