"""A server's history in numbers: how often, how long, what fails and what got slower."""
