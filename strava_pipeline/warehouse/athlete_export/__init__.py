"""Everything that is stored of one athlete as files, for the athlete and as a backup, and the way back."""
