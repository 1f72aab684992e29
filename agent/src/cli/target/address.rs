//! Where a machine is: as it was typed, and as `~/.ssh/config` completes it.

use std::path::PathBuf;

use runner::ssh::config::HostConfig;

use crate::api::wire::target::Host;
use crate::cli::Failure;

/// How far machines may be behind one another.
const MOST_JUMPS: usize = 8;

/// An address as it was typed. What is missing is for the configuration of SSH to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// A name, an alias or an address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: Option<u16>,
    /// Who logs in.
    pub(super) user: Option<String>,
}

/// The whole way to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The machine.
    pub(super) host: Host,
    /// Those to go through, the nearest first.
    pub(super) jumps: Vec<Host>,
    /// The private keys that the configuration names for all of them.
    pub(super) identity_files: Vec<PathBuf>,
}

/// What the configuration of SSH says of a host.
pub(super) type LookUp<'a> = &'a dyn Fn(&str) -> Result<HostConfig, Failure>;

/// Reads `host`, `user@host`, `host:port`, `[v6]:port`, and the same after `ssh://`.
///
/// # Errors
///
/// It is none of these. An id of Azure is told what to give instead.
pub(super) fn parse(text: &str) -> Result<Typed, Failure> {
    let wrong = || {
        Failure::usage(format!("{text:?} is no address of a machine"))
            .hint("give a host, an alias of ~/.ssh/config, or ssh://user@host:port")
    };
    if text.to_ascii_lowercase().starts_with("/subscriptions/") {
        return Err(Failure::usage(format!("{text} is a resource id of Azure, not an address"))
            .hint(
                "nothing is asked of Azure: give the machine's address with -a HOST, an alias of \
                 ~/.ssh/config, or -a ssh://user@host:port; `az vm show -d --ids ID --query \
                 publicIps` tells it",
            ));
    }
    let rest = text.strip_prefix("ssh://").unwrap_or(text);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, rest),
    };
    let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        None => match place.split_once(':') {
            // More colons than one: an address of IPv6 as it is.
            Some((_, rest)) if rest.contains(':') => (place, None),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong));
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']');
    if host.is_empty() || host.starts_with('-') || host.contains(odd) {
        return Err(wrong());
    }
    if user.as_ref().is_some_and(|user| user.is_empty() || user.contains([':', '/'])) {
        return Err(wrong());
    }
    Ok(Typed { host: host.to_owned(), port: port.transpose()?, user })
}

/// Completes what was typed: by the configuration, else port 22 and `me`.
///
/// # Errors
///
/// The configuration cannot be read, or names what is no address.
pub(super) fn complete(typed: &Typed, me: &str, look_up: LookUp<'_>) -> Result<Way, Failure> {
    let mut way = Way {
        host: place(typed, me, &HostConfig::default()),
        jumps: Vec::new(),
        identity_files: Vec::new(),
    };
    let config = look_up(&typed.host)?;
    way.host = place(typed, me, &config);
    way.identity_files.clone_from(&config.identity_files);
    go_through(&config.jumps, me, look_up, &mut way, 0)?;
    Ok(way)
}

/// Puts `jumps` before the machine, and before those what they are behind themselves.
fn go_through(
    jumps: &[String],
    me: &str,
    look_up: LookUp<'_>,
    way: &mut Way,
    depth: usize,
) -> Result<(), Failure> {
    for (place_in_line, jump) in jumps.iter().enumerate() {
        if depth + way.jumps.len() >= MOST_JUMPS {
            let message = "ProxyJump in ~/.ssh/config leads through too many machines";
            return Err(Failure::usage(message).hint("see whether it leads back to itself"));
        }
        let typed = parse(jump)?;
        let config = look_up(&typed.host)?;
        // As ssh has it: of several, only the first is reached by a way of its own.
        if place_in_line == 0 {
            go_through(&config.jumps, me, look_up, way, depth + 1)?;
        }
        way.jumps.push(place(&typed, me, &config));
        for file in config.identity_files {
            if !way.identity_files.contains(&file) {
                way.identity_files.push(file);
            }
        }
    }
    Ok(())
}

fn place(typed: &Typed, me: &str, config: &HostConfig) -> Host {
    let user = typed.user.as_ref().or(config.user.as_ref());
    Host {
        address: config.host_name.clone().unwrap_or_else(|| typed.host.clone()),
        port: typed.port.or(config.port).unwrap_or(22),
        user: user.cloned().unwrap_or_else(|| me.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (text, user, host, port) in [
            ("vm", None, "vm", None),
            ("me@vm.example", Some("me"), "vm.example", None),
            ("vm:2222", None, "vm", Some(2222)),
            ("ssh://me@vm:2222", Some("me"), "vm", Some(2222)),
            ("ssh://vm/", None, "vm", None),
            ("10.0.0.4", None, "10.0.0.4", None),
            ("fe80::1", None, "fe80::1", None),
            ("me@[fe80::1]:22", Some("me"), "fe80::1", Some(22)),
            ("[::1]", None, "::1", None),
        ] {
            let expected = Typed { host: host.to_owned(), port, user: user.map(str::to_owned) };
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "",
            "ssh://",
            "vm:",
            "vm:0",
            "vm:99999",
            "vm:ssh",
            "@vm",
            "me:pw@vm",
            "a b",
            "-oX=y",
            "vm/path",
            "[::1",
            "[::1]x",
            "https://vm",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let id =
            "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm";
        let refused = parse(id).unwrap_err();
        assert!(refused.message().unwrap().contains("resource id of Azure"));
        assert!(refused.next_step().unwrap().contains("-a ssh://user@host:port"));
    }

    fn look_up(host: &str) -> Result<HostConfig, Failure> {
        let config = match host {
            "gpu" => HostConfig {
                host_name: Some("10.0.0.4".to_owned()),
                port: Some(2222),
                user: Some("azureuser".to_owned()),
                identity_files: vec!["/keys/gpu".into()],
                jumps: vec!["gate".to_owned(), "ana@inner:24".to_owned()],
            },
            "gate" => HostConfig {
                host_name: Some("gate.example".to_owned()),
                identity_files: vec!["/keys/gate".into()],
                jumps: vec!["outer".to_owned()],
                ..HostConfig::default()
            },
            "inner" => HostConfig { jumps: vec!["not used".to_owned()], ..Default::default() },
            "loop" => HostConfig { jumps: vec!["loop".to_owned()], ..HostConfig::default() },
            _ => HostConfig::default(),
        };
        Ok(config)
    }

    #[test]
    fn an_alias_stands_for_a_whole_way_and_what_is_typed_wins() {
        let told = |text: &str| {
            let way = complete(&parse(text).unwrap(), "me", &look_up).unwrap();
            let said = |host: &Host| format!("{}@{}:{}", host.user, host.address, host.port);
            let jumps: Vec<_> = way.jumps.iter().map(said).collect();
            let keys: Vec<_> =
                way.identity_files.iter().map(|key| key.display().to_string()).collect();
            format!("{} through [{}] with {keys:?}", said(&way.host), jumps.join(", "))
        };
        insta::assert_snapshot!(
            ["gpu", "root@gpu:22", "plain", "gate"].map(told).join("\n"), @r#"
        azureuser@10.0.0.4:2222 through [me@outer:22, me@gate.example:22, ana@inner:24] with ["/keys/gpu", "/keys/gate"]
        root@10.0.0.4:22 through [me@outer:22, me@gate.example:22, ana@inner:24] with ["/keys/gpu", "/keys/gate"]
        me@plain:22 through [] with []
        me@gate.example:22 through [me@outer:22] with ["/keys/gate"]
        "#);
        let refused = complete(&parse("loop").unwrap(), "me", &look_up).unwrap_err();
        assert!(refused.message().unwrap().contains("too many machines"));
    }
}
