"""What is known of provider targets: how many calls they bear, and whether they take any now."""
