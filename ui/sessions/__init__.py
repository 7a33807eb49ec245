"""Demo sessions: guests join from their phones, and their pictures appear on a wall."""
