"""The searches that planners share: dynamic programmes over cuts and downsets."""
