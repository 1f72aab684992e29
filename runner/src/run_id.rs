//! Run ids: `<experiment>_<unix seconds>_<8 hex>`, as Azure ML's.
