//! The arguments that bubblewrap makes rooms by. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::network::RoomNetwork;
use super::plan::{Rooms, Seen};

/// Returns the arguments: what is to be unshared, then what is seen, in order.
#[must_use]
pub fn arguments(rooms: &Rooms) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    // Namespaces. Ours is the first process within, and reaps.
    if rooms.own_users {
        arguments.add(["--unshare-user"]);
    }
    arguments.add(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
    if rooms.network == RoomNetwork::Alone {
        arguments.add(["--unshare-net"]);
    }
    arguments.add(["--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"]);
    if !rooms.own_users {
        // The set that bounds what programs may gain is emptied by the first process within.
        arguments.add(["--cap-add", "CAP_SETPCAP"]);
    }
    for view in &rooms.views {
        arguments.view(&view.at, &view.what);
    }
    for view in rooms.views.iter().filter(|view| view.what == Seen::Empty) {
        arguments.path("--remount-ro", &view.at);
    }
    arguments.add(["--remount-ro", "/"]);
    arguments.0
}

/// Returns `arguments` as bubblewrap reads them from a file.
#[must_use]
pub fn file(arguments: &[OsString]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for argument in arguments {
        bytes.extend_from_slice(argument.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.0.extend(words.map(OsString::from));
    }

    fn path(&mut self, option: &str, path: &Path) {
        self.0.extend([option.into(), path.as_os_str().to_owned()]);
    }

    fn paths(&mut self, option: &str, from: &Path, to: &Path) {
        self.path(option, from);
        self.0.push(to.as_os_str().to_owned());
    }

    fn view(&mut self, at: &Path, what: &Seen) {
        match what {
            Seen::Shown(source) => self.paths("--ro-bind", source, at),
            Seen::Given(source) => self.paths("--bind", source, at),
            Seen::Device => self.paths("--dev-bind", at, at),
            Seen::Link(to) => self.paths("--symlink", to, at),
            Seen::Empty => self.path("--tmpfs", at),
            Seen::Memory(bytes) => {
                if let Some(bytes) = bytes {
                    self.0.extend(["--size".into(), bytes.to_string().into()]);
                }
                self.path("--tmpfs", at);
            }
            Seen::Processes => self.path("--proc", at),
            Seen::Devices => self.path("--dev", at),
        }
    }
}
