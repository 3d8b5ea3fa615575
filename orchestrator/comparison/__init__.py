"""Stage 6, what it means: records in, tables, intervals and pictures out."""
