"""The settings that pictures and texts carry, whichever program wrote them."""
