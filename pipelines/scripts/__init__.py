"""Programs around a generation: loopback, tiles, outpainting, matrices; each calls generate several times."""
