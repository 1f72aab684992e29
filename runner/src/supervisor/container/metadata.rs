//! What keeps a container from the addresses at which clouds give a machine its credentials.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use images::engine::{ContainerSpec, Engine};

use crate::sandbox::network::resolver;
use crate::supervisor::events::Event;

/// The network that reaches all, of every engine.
const BRIDGE: &str = "bridge";

/// Where engines look for who knows the addresses of names: the second where the first is
/// systemd's, of which containers know nothing.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Keeps the container `id`, which is not started yet, from them. Says so where that cannot be had.
pub(super) fn keep_from(engine: &Engine, id: &str, spec: &ContainerSpec) -> Option<Event> {
    if spec.network != BRIDGE {
        return None;
    }
    // What cannot be read names nobody.
    let texts = RESOLVERS.map(|path| fs::read_to_string(path).unwrap_or_default());
    let why = match texts.iter().find_map(|text| on_a_link(text)) {
        Some(address) => format!("names are asked for at {address}, which is one of them"),
        None => engine.connect_to_dead_end(id).err()?.to_string(),
    };
    Some(Event::MetadataInReach { why })
}

/// Returns the first resolver whose address is of a link.
fn on_a_link(text: &str) -> Option<Ipv4Addr> {
    resolver::addresses(text).find_map(|address| match address {
        IpAddr::V4(address) if address.is_link_local() => Some(address),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_among_them_is_found() {
        assert_eq!(on_a_link("nameserver 127.0.0.53\nnameserver 10.0.0.1\n"), None);
        let google = "search c.example\nnameserver 10.0.0.1\nnameserver 169.254.169.254\n";
        assert_eq!(on_a_link(google), Some(Ipv4Addr::new(169, 254, 169, 254)));
    }
}
