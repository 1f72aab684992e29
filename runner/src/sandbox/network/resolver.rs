//! Which resolver of names a sandbox asks. Pure.
//!
//! A resolver on the machine's loopback, as systemd's at 127.0.0.53, and one at a closed address, as
//! that of some clouds, are out of a sandbox's reach. pasta then passes on what is asked of an
//! address that stands for it.

use std::net::{IpAddr, Ipv4Addr};

use super::keeper::CLOSED;

/// Stands for the machine's resolver: an address that no machine has (RFC 7600).
pub(crate) const STAND_IN: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Returns the `resolv.conf` for a sandbox where the machine's, `text`, would not do.
#[must_use]
pub(crate) fn own(text: &str) -> Option<String> {
    let out_of_reach = |address: IpAddr| address.is_loopback() || CLOSED.contains(&address);
    if !addresses(text).any(out_of_reach) {
        return None;
    }
    let rest = text.lines().filter(|line| address(line).is_none() && !line.starts_with('#'));
    let rest: String = rest.map(|line| format!("{line}\n")).collect();
    Some(format!("nameserver {STAND_IN}\n{rest}"))
}

/// Returns the addresses that a `resolv.conf` names.
pub(crate) fn addresses(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(address)
}

fn address(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    words.next().filter(|key| *key == "nameserver")?;
    let value = words.next()?;
    // An address of a link may name it: fe80::1%eth0.
    value.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_a_sandbox_cannot_reach_has_a_stand_in() {
        for reachable in
            ["nameserver 10.0.0.1\nsearch a.example\n", "nameserver fe80::1%eth0\n", ""]
        {
            assert_eq!(own(reachable), None, "{reachable}");
        }
        for hidden in ["127.0.0.53", "::1", "169.254.169.254", "168.63.129.16"] {
            let text = format!("# by hand\nnameserver {hidden}\noptions edns0\nsearch a.example\n");
            let expected = "nameserver 192.0.0.8\noptions edns0\nsearch a.example\n";
            assert_eq!(own(&text).as_deref(), Some(expected), "{hidden}");
        }
    }
}
