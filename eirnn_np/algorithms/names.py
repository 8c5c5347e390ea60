"""The algorithms by name; imports nothing, as the command's help needs it."""

ALGORITHMS = ("bptt", "tbptt", "rtrl", "eprop", "rflo")
