"""Demo sessions: guests join from their phones, and their pictures form on a wall."""
