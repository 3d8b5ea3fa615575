"""What comes before an experiment: a first file, data that can be read, weights on the disk."""
