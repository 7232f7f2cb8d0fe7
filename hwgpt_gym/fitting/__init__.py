"""Who fits the surrogates to measurements; a user of the package never opens it."""
