"""Learning parts that need torch and no RL library: trajectories, packed forward, line advantages, value head, LoRA."""
