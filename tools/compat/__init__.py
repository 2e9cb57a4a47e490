"""Sends recorded A1111 requests to our server and compares pictures and infotexts."""
