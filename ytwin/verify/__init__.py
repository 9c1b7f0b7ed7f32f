"""What should hold and what does: the matrix of clients x Services, isolation, lints. Pure."""
