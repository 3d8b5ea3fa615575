"""Key `data`: the images of a run and its batches."""
