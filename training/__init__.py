"""The recipe that trains the embedded model: open pictures in, a diffusers folder out."""
