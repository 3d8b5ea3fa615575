"""Stage 3, handing plans to Ray: the one stage that knows it."""
