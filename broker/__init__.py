"""What the parts share: rules and stores. No stage, no door."""
