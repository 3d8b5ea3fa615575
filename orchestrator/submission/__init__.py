"""DOOR: an experiment on a cluster that `ray up` has made."""
