"""What people would use instead, each as its own documentation shows it."""
