"""Theory against trained weights: what a network's layers can do, and what they were seen to do."""
