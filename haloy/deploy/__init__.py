"""From what runs to what should run."""
