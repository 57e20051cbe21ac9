"""Files that come by a browser: their rows, where they lie, and the links by which athletes upload them."""
