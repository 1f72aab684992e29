//! Azure ML SDK v1 `.runconfig` files.
