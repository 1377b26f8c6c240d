"""The convolutions of any torch model in a cheaper coupling; import the defining modules."""
