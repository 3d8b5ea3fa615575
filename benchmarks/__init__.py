"""What the README's figures come from; every file prints one JSON object as its last line."""
