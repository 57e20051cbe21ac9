"""What one machine runs by itself: the embedded Postgres, and the processes behind ``up`` and ``demo``."""
