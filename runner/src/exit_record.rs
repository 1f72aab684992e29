//! Why a run ended, in machine-readable form.
