//! YAML with a strict budget: the one place that knows the parser.
