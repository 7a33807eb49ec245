"""Other systems' traits, emulated on the one at hand: what Windows, macOS and some disks do."""
