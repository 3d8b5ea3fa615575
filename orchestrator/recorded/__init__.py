"""What can still be asked of a recorded run: scores on any part, features of any data."""
