"""What people add to a checkpoint: LoRA adapters and textual-inversion embeddings."""
