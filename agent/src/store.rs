//! The agent's records: domain calls, one database behind them.
