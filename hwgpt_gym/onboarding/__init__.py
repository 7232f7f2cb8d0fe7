"""A device of your own, from few measurements: plan, measure, fit, check."""
