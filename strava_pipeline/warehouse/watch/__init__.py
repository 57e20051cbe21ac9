"""What metrics and alerts read from the tables, and the tables of their own."""
