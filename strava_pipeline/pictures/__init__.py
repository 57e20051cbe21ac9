"""Pictures of an activity: arrays in, PNG bytes out; no I/O, no SQL, no network."""
