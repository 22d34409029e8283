"""What the console's SQL functions return, read once into classes: a file per subject.

Each reader raises ConfigurationError, naming the function and the field, for an answer of another
shape.
"""
