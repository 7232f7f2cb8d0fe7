"""The leaderboard: suites of searches, their execution, statistics, tables, figures and page."""
