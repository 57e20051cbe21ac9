"""Pictures of activities and fitness as PNG bytes, drawn from arrays: no I/O, no SQL, no network."""
