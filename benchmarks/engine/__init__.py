"""What sharing steps is worth: the engine against plain diffusers, alone and crowded."""
