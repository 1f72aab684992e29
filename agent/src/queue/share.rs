//! What runs take of a target, and what a target has to give. Pure.

use runner::gpu::ALL;
use runner::run_configuration::Resources;

/// How many runs may be on at once when nobody said: two per core, as Azure's compute instances
/// have it.
fn default_limit(cores: usize) -> usize {
    cores.max(1) * 2
}

/// How many runs may be on at once on another machine: as here, or 4 where nobody knows how many
/// cores it has.
pub(crate) fn places_elsewhere(cores: Option<u32>) -> usize {
    cores.and_then(|cores| usize::try_from(cores).ok()).map_or(4, default_limit)
}

/// Returns what this machine of `cores` has to give to `limit` runs at once. GPUs are known later,
/// if there are any.
pub(crate) fn of_this_machine(limit: Option<usize>, cores: usize) -> Capacity {
    let memory = nix::sys::sysinfo::sysinfo().ok().map(|system| system.ram_total());
    Capacity {
        places: limit.unwrap_or_else(|| default_limit(cores)),
        millicpus: Some(cores as u64 * 1000),
        memory,
        gpus: None,
        others_gpus: 0,
    }
}

/// What a target has to give. What is `None` nobody knows, and it is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// How many runs may be on at once.
    pub(crate) places: usize,
    /// Thousandths of a processor.
    pub(crate) millicpus: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// GPUs.
    pub(crate) gpus: Option<u32>,
    /// How many of them others use, so that no run is to have them.
    pub(crate) others_gpus: u32,
}

/// What a run takes of its target while it is on: what it named, and an equal part of what it did
/// not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) millicpus: u64,
    pub(crate) memory: u64,
    pub(crate) gpus: u32,
}

/// What several runs take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    runs: usize,
    share: Share,
}

/// What a target has too little of for a run that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// As many runs are on as may be.
    Places {
        /// That many.
        most: usize,
    },
    /// Processors, in thousandths.
    Cpus {
        /// What the run takes.
        wanted: u64,
        /// What is free.
        free: u64,
    },
    /// Memory, in bytes.
    Memory {
        /// What the run takes.
        wanted: u64,
        /// What is free.
        free: u64,
    },
    /// GPUs.
    Gpus {
        /// What the run takes.
        wanted: u32,
        /// What is free.
        free: u32,
    },
}

impl Capacity {
    /// Works out what a run takes. One that names more than there is takes all: it starts when
    /// nothing else is on, and what it named is its limit, not ours.
    pub(crate) fn share(&self, asked: &Resources) -> Share {
        let part = |all: Option<u64>| all.unwrap_or(0) / self.places.max(1) as u64;
        let of = |asked: Option<u64>, all: Option<u64>| match (asked, all) {
            (Some(asked), Some(all)) => asked.min(all),
            (Some(asked), None) => asked,
            (None, all) => part(all),
        };
        Share {
            millicpus: of(asked.cpus.map(millis), self.millicpus),
            memory: of(asked.memory_bytes, self.memory),
            gpus: match asked.gpus.unwrap_or(0) {
                ALL => self.gpus.unwrap_or(0),
                // Nobody waits for what there is not: its start says what is missing.
                gpus if self.gpus.is_some_and(|all| gpus > all) => 0,
                gpus => gpus,
            },
        }
    }

    /// Says what is too little for one more run that takes `share`, beside what is in use.
    pub(crate) fn lacks(&self, used: &Used, share: &Share) -> Option<Lack> {
        if used.runs >= self.places {
            return Some(Lack::Places { most: self.places });
        }
        let short = |wanted: u64, all: Option<u64>, used: u64| {
            let free = all?.saturating_sub(used);
            (wanted > free).then_some(free)
        };
        let Share { millicpus, memory, gpus } = *share;
        let taken = used.share.gpus.saturating_add(self.others_gpus);
        if let Some(free) = short(gpus.into(), self.gpus.map(u64::from), taken.into()) {
            let free = u32::try_from(free).unwrap_or(u32::MAX);
            return Some(Lack::Gpus { wanted: gpus, free });
        }
        if let Some(free) = short(millicpus, self.millicpus, used.share.millicpus) {
            return Some(Lack::Cpus { wanted: millicpus, free });
        }
        let free = short(memory, self.memory, used.share.memory)?;
        Some(Lack::Memory { wanted: memory, free })
    }
}

impl Used {
    /// Counts one more run that takes `share`.
    pub(crate) fn add(&mut self, share: &Share) {
        self.runs += 1;
        self.share.millicpus = self.share.millicpus.saturating_add(share.millicpus);
        self.share.memory = self.share.memory.saturating_add(share.memory);
        self.share.gpus = self.share.gpus.saturating_add(share.gpus);
    }
}

/// Returns processors as thousandths, at least one.
fn millis(cpus: f64) -> u64 {
    let millis = (cpus * 1000.0).ceil().clamp(1.0, 1e15);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
    let millis = millis as u64;
    millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Capacity {
        Capacity {
            places: 4,
            millicpus: Some(2000),
            memory: Some(8 << 30),
            gpus: Some(1),
            others_gpus: 0,
        }
    }

    fn asks(cpus: Option<f64>, memory: Option<u64>, gpus: Option<u32>) -> Resources {
        Resources { cpus, memory_bytes: memory, gpus, ..Resources::default() }
    }

    #[test]
    fn who_names_nothing_takes_an_equal_part() {
        let machine = machine();
        let share = machine.share(&Resources::default());
        assert_eq!(share, Share { millicpus: 500, memory: 2 << 30, gpus: 0 });

        let mut used = Used::default();
        for _ in 0..4 {
            assert_eq!(machine.lacks(&used, &share), None);
            used.add(&share);
        }
        assert_eq!(machine.lacks(&used, &share), Some(Lack::Places { most: 4 }));
    }

    #[test]
    fn what_is_too_little_is_named() {
        let machine = machine();
        let mut used = Used::default();
        used.add(&machine.share(&asks(Some(1.5), Some(7 << 30), Some(1))));

        let lack = |cpus, memory, gpus| {
            machine.lacks(&used, &machine.share(&asks(Some(cpus), Some(memory), Some(gpus))))
        };
        assert_eq!(lack(0.5, 1 << 30, 0), None);
        assert_eq!(lack(0.6, 0, 0), Some(Lack::Cpus { wanted: 600, free: 500 }));
        assert_eq!(lack(0.1, 2 << 30, 0), Some(Lack::Memory { wanted: 2 << 30, free: 1 << 30 }));
        assert_eq!(lack(0.1, 0, 1), Some(Lack::Gpus { wanted: 1, free: 0 }));
        let shared = Capacity { gpus: Some(4), others_gpus: 2, ..machine };
        let wants = |gpus| shared.lacks(&used, &shared.share(&asks(None, Some(0), Some(gpus))));
        assert_eq!(wants(2), Some(Lack::Gpus { wanted: 2, free: 1 }), "and not what there is");
    }

    #[test]
    fn who_names_more_than_there_is_gets_the_machine_alone() {
        let machine = machine();
        let all = machine.share(&asks(Some(64.0), Some(1 << 40), None));

        assert_eq!(machine.lacks(&Used::default(), &all), None);
        let mut used = Used::default();
        used.add(&machine.share(&Resources::default()));
        assert_eq!(machine.lacks(&used, &all), Some(Lack::Cpus { wanted: 2000, free: 1500 }));
    }

    #[test]
    fn what_nobody_knows_is_not_counted() {
        let machine = Capacity { places: 2, ..Capacity::default() };
        let large = machine.share(&asks(Some(64.0), Some(1 << 40), Some(8)));
        let mut used = Used::default();
        used.add(&large);
        assert_eq!(machine.lacks(&used, &large), None);
    }

    #[test]
    fn a_machine_without_known_cores_still_runs_something() {
        assert_eq!([0, 1, 2, 64].map(default_limit), [2, 2, 4, 128]);
        assert_eq!([None, Some(0), Some(8)].map(places_elsewhere), [4, 2, 16]);
    }
}
