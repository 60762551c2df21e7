"""Who does the work: the stages, the engine that feeds them, and their wiring."""
