# The native half. Each section belongs to the Rust file that it names.

__version__: str
