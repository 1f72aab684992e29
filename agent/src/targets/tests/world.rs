//! A network of made-up machines, for what needs no real one.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use runner::cancel_request::CancelRequest;
use runner::compute_target::ssh::{FirstContact, SshTargetSpec};
use runner::compute_target::{Needs, NotPrepared, Place, Ready, SupervisorState, TargetError};
use runner::exit_record::ExitRecord;
use runner::gpu::GpuUser;
use runner::outputs::Outputs;
use runner::remote::message::{Cleaned, Cleaning, Hello};
use runner::run_directory::RunDirectory;
use runner::script_user::ScriptUser;
use runner::ssh::{Credential, Endpoint, HostKey, HostKeyPolicy, SshError};
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;
use snapshots::transfer::Sent;

use super::super::reach::Machine;
use super::super::*;

/// A network of made-up machines.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

/// What is so in it, and what was asked of it.
#[derive(Default)]
pub(crate) struct State {
    /// Machines by their addresses.
    pub(crate) machines: HashMap<String, MadeUp>,
    /// The ways by which they were met.
    pub(super) met: Vec<String>,
    /// Addresses that do not answer.
    pub(super) gone: HashMap<String, OutOfContact>,
    pub(super) purged: Vec<String>,
    /// What was asked of those that were cleaned.
    pub(crate) cleaned: Vec<Cleaning>,
}

/// A made-up machine.
#[derive(Clone)]
pub(crate) struct MadeUp {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) cpus: u32,
    pub(super) gpus: Vec<String>,
}

pub(crate) fn key(text: &str) -> HostKey {
    use base64::Engine;
    let key = base64::prelude::BASE64_STANDARD.encode(text);
    HostKey { algorithm: "ssh-ed25519".to_owned(), key }
}

impl World {
    /// Returns what is so now.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Puts machine `id` with host key `key` at `address`.
    pub(crate) fn put(&self, address: &str, id: &str, key: &str) {
        let machine = MadeUp { id: id.to_owned(), key: key.to_owned(), cpus: 8, gpus: Vec::new() };
        self.state().machines.insert(address.to_owned(), machine);
    }

    /// Lets the machine at `address` be out of contact, or back.
    pub(crate) fn set_gone(&self, address: &str, contact: Option<OutOfContact>) {
        match contact {
            Some(contact) => self.state().gone.insert(address.to_owned(), contact),
            None => self.state().gone.remove(address),
        };
    }

    fn find(&self, endpoint: &Endpoint) -> Result<MadeUp, TargetError> {
        for jump in &endpoint.jumps {
            self.find(jump)?;
        }
        let found = self.state().machines.get(&endpoint.host).cloned();
        let found = found.ok_or_else(|| SshError::Unreachable {
            host: endpoint.host.clone(),
            port: endpoint.port,
            source: io::Error::from(io::ErrorKind::ConnectionRefused),
        })?;
        match &endpoint.host_key {
            HostKeyPolicy::Pinned(pinned) if *pinned != key(&found.key) => {
                Err(TargetError::Ssh(SshError::HostKeyChanged {
                    host: endpoint.host.clone(),
                    expected: Box::new(pinned.clone()),
                    found: Box::new(key(&found.key)),
                }))
            }
            _ => Ok(found),
        }
    }

    fn report(machine: &MadeUp) -> MachineReport {
        MachineReport {
            cpus: machine.cpus,
            memory_bytes: Some(u64::from(machine.cpus) << 32),
            gpus: machine.gpus.clone(),
            os: Some("ubuntu".to_owned()),
            time_utc: Some(Timestamp::now()),
            ..MachineReport::default()
        }
    }
}

impl Reach for World {
    fn first_contact(&self, endpoint: &Endpoint, _: bool) -> Result<FirstContact, TargetError> {
        let found = self.find(endpoint)?;
        let policy = |endpoint: &Endpoint| match &endpoint.host_key {
            HostKeyPolicy::Any => "any",
            HostKeyPolicy::Pinned(_) => "pinned",
            HostKeyPolicy::Known(_) => "known",
        };
        let jumps = endpoint.jumps.iter().map(|jump| format!("{} {}, ", jump.host, policy(jump)));
        let way = format!("{}{} {}", jumps.collect::<String>(), endpoint.host, policy(endpoint));
        self.state().met.push(way);
        let jump_keys = endpoint.jumps.iter().map(|jump| Ok(key(&self.find(jump)?.key)));
        Ok(FirstContact {
            host_key: key(&found.key),
            jump_keys: jump_keys.collect::<Result<_, TargetError>>()?,
            hello: Hello {
                protocol: 1,
                version: String::new(),
                place: Place {
                    home: "/home/me/.trainyard".into(),
                    user: ScriptUser::current(),
                    knows_submitters: false,
                    boot_id: String::new(),
                },
                time_utc: Timestamp::now(),
                machine: found.id.clone(),
            },
            report: Self::report(&found),
        })
    }

    fn host_key(&self, endpoint: &Endpoint) -> Result<HostKey, TargetError> {
        Ok(key(&self.find(endpoint)?.key))
    }

    fn machine(&self, spec: SshTargetSpec, credentials: Vec<Credential>) -> Arc<dyn Machine> {
        drop(credentials);
        Arc::new(Stand { world: self.clone(), spec })
    }
}

/// Stands for a made-up machine.
struct Stand {
    world: World,
    spec: SshTargetSpec,
}

impl Stand {
    fn way(&self) -> Endpoint {
        Endpoint {
            host: self.spec.host.clone(),
            port: self.spec.port,
            user: self.spec.user.clone(),
            host_key: HostKeyPolicy::Pinned(self.spec.host_key.clone()),
            credentials: Vec::new(),
            jumps: Vec::new(),
        }
    }
}

impl Machine for Stand {
    fn report(&self) -> Result<MachineReport, TargetError> {
        Ok(World::report(&self.world.find(&self.way())?))
    }

    fn clean(&self, wanted: Cleaning) -> Result<Cleaned, TargetError> {
        self.world.find(&self.way())?;
        self.world.state().cleaned.push(wanted);
        Ok(Cleaned { runs: 1, ..Cleaned::default() })
    }

    fn send(&self, _: &LocalStore, _: &Digest) -> Result<Sent, TargetError> {
        self.world.find(&self.way())?;
        Ok(Sent { objects: 2, bytes: 5, round_trips: 3 })
    }

    fn purge(&self) -> Result<Purged, TargetError> {
        self.world.find(&self.way())?;
        self.world.state().purged.push(self.spec.name.clone());
        Ok(Purged { home: "/home/me/.trainyard".into(), whole: true, bytes: 7 })
    }
}

impl ComputeTarget for Stand {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn place(&self) -> Result<Place, TargetError> {
        unreachable!("no run gets so far")
    }

    fn prepare(
        &self,
        _: &RunDirectory,
        _: &Needs,
        _: &LocalStore,
        _: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        Err(NotPrepared::Cancelled)
    }

    fn lease(&self, _: &PreparedEnvironment) -> Result<Option<EnvironmentLease>, TargetError> {
        Ok(None)
    }

    fn gpus(&self, _: u32) -> Result<Vec<String>, TargetError> {
        unreachable!("no run gets so far")
    }

    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError> {
        unreachable!("no run gets so far")
    }

    fn start(&self, _: &RunDirectory) -> Result<(), TargetError> {
        unreachable!("no run gets so far")
    }

    fn probe(&self, _: &RunDirectory) -> Result<SupervisorState, TargetError> {
        unreachable!("no run gets so far")
    }

    fn wait(&self, _: &RunDirectory, _: Duration) -> Result<SupervisorState, TargetError> {
        unreachable!("no run gets so far")
    }

    fn cancel(&self, _: &RunDirectory, _: &CancelRequest) -> Result<(), TargetError> {
        Ok(())
    }

    fn settle(&self, _: &RunDirectory) -> Result<ExitRecord, TargetError> {
        unreachable!("no run gets so far")
    }

    fn collect(
        &self,
        _: &RunDirectory,
        _: &Digest,
        _: &LocalStore,
    ) -> Result<Outputs, TargetError> {
        unreachable!("no run gets so far")
    }

    fn packages(&self, _: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        unreachable!("no run gets so far")
    }

    fn release(&self, _: &RunDirectory) -> Result<(), TargetError> {
        Ok(())
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        self.world.state().gone.get(&self.spec.host).cloned()
    }
}
