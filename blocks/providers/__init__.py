"""Model providers: one call at a time, their errors translated into ours; no retries, no policy."""
