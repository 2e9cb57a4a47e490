"""Programs that measure speed and memory, as ratios taken in one run."""
