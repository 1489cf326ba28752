"""The rules of an execution, a module for each part of its life; `decide` is their table.

A rule takes the state and a command and returns what happens, () when the wish is fulfilled already; or it
raises.
"""
