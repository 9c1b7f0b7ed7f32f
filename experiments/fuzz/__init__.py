"""Fuzzing of the codec: mutated topology files must be accepted or refused with problems, never crash and never hang."""
