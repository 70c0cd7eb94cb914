"""Processes that hold a device each: started, given orders, watched and ended."""
