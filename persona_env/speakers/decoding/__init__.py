"""The ragged KV cache: rows of different lengths decoded together, each token read once."""
