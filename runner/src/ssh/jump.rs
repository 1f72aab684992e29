//! Going through other machines (`ProxyJump`).
