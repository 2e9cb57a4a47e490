"""REST routes compatible with AUTOMATIC1111's `/sdapi/v1`."""
