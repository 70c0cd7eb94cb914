"""This machine: its devices, how it is described, and how a rank waits for and watches a device."""
