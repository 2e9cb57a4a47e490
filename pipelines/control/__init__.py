"""ControlNet units on their way from request to control networks: choices, pictures, maps, records."""
