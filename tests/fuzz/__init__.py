"""Coverage-guided fuzzing of what reads texts that anybody may write: `make fuzz`."""
