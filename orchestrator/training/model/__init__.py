"""Key `model`: the network and the weights that it starts from."""
