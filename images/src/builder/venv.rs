//! Builds a virtual environment from requirements files, by uv or by pip.
