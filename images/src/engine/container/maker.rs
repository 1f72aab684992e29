//! Who made a container: a process, and whether it is there still.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use super::OurContainer;
use crate::engine::{HOME_LABEL, LABEL, MAKER_LABEL, PURPOSE_LABEL};

/// This process, as it stands in a label.
static THIS: LazyLock<Option<Maker>> = LazyLock::new(|| Maker::of("self"));

/// A process, told from all others of this machine, also of earlier boots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Maker {
    boot: String,
    /// The namespace that its number is of.
    namespace: String,
    pid: u32,
    /// In clock ticks since the boot.
    start: u64,
}

/// Returns the labels of a container that this process makes to look at something.
pub(super) fn labels(home: &str, purpose: &str) -> BTreeMap<String, String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labels =
        BTreeMap::from([label(LABEL, "1"), label(HOME_LABEL, home), label(PURPOSE_LABEL, purpose)]);
    labels.extend(THIS.as_ref().map(|maker| label(MAKER_LABEL, &maker.to_label())));
    labels
}

impl OurContainer {
    /// Whether the process that made it to look at something is gone, so that nobody waits for it
    /// and nobody will remove it. False where that cannot be said, and for containers of runs.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let maker = self.labels.get(MAKER_LABEL).and_then(|label| Maker::parse(label));
        maker.is_some_and(|maker| maker.is_gone(THIS.as_ref()))
    }
}

impl Maker {
    /// Reads what `/proc` says of a process; `None` if there is none, or it has ended.
    fn of(process: &str) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The program's name may hold anything, and ends at the last bracket.
        let (pid, _) = stat.split_once(' ')?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
        let maker = Self {
            boot: boot.trim().to_owned(),
            namespace: namespace.to_str()?.to_owned(),
            pid: pid.parse().ok()?,
            // Field 22 of proc_pid_stat(5); the state is field 3.
            start: fields.nth(18)?.parse().ok()?,
        };
        (!has_ended).then_some(maker)
    }

    fn to_label(&self) -> String {
        format!("{} {} {} {}", self.boot, self.namespace, self.pid, self.start)
    }

    fn parse(label: &str) -> Option<Self> {
        let mut parts = label.split(' ');
        let (boot, namespace) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { boot, namespace, pid, start })
    }

    /// Whether it has ended, as far as `this` process can tell.
    fn is_gone(&self, this: Option<&Self>) -> bool {
        let Some(this) = this else { return false };
        if self.boot != this.boot {
            return true;
        }
        // Of processes in other namespaces nothing is known.
        self.namespace == this.namespace && Self::of(&self.pid.to_string()).as_ref() != Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn container(label: &str) -> OurContainer {
        let labels = BTreeMap::from([(MAKER_LABEL.to_owned(), label.to_owned())]);
        OurContainer { id: String::new(), name: String::new(), labels, running: false }
    }

    #[test]
    fn a_process_is_there_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("64").spawn().unwrap();
        let maker = Maker::of(&child.id().to_string()).unwrap();
        let made = container(&maker.to_label());
        assert_eq!(Maker::parse(&maker.to_label()), Some(maker.clone()));
        assert!(!made.is_abandoned());

        child.kill().unwrap();
        child.wait().unwrap();

        assert!(made.is_abandoned());
        let again = Maker { start: 1, ..Maker::of("self").unwrap() };
        assert!(container(&again.to_label()).is_abandoned(), "its number was given away");
        let elsewhere = Maker { namespace: "pid:[1]".to_owned(), ..maker.clone() };
        assert!(!container(&elsewhere.to_label()).is_abandoned());
        let before = Maker { boot: "before".to_owned(), ..elsewhere };
        assert!(container(&before.to_label()).is_abandoned());
        assert!(!container("whatever").is_abandoned());
    }
}
