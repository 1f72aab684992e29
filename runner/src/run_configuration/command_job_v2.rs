//! Azure ML v2 command-job YAML.
