"""The HTTP service: models behind JSON endpoints, with batching across requests, bounds on everything, and metrics."""
