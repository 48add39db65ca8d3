"""The long form of the tests with whole guests: hours of what `make test` does for seconds. `scripts/soak` starts it."""
