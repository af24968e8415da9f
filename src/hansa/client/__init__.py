"""The client of a region: `client.Client` speaks, `errors.ApiError` is what it refuses with."""
