//! Why a script could not be started in a container.

use std::io;
use std::path::PathBuf;

use images::engine::EngineError;
use snapshots::path_error::PathError;

use crate::container::ContainerRefused;
use crate::exit_record::ExitReason;

/// Why there is no container, or nothing runs in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("no program was given")]
    Nothing,
    #[error("the program {program:?} was not found in the image {image:?}, which has no shell")]
    NoProgram { program: String, image: String },
    #[error(transparent)]
    Refused(#[from] ContainerRefused),
    #[error("{path:?} cannot be shown to the container")]
    NoSource { path: PathBuf, source: io::Error },
    #[error("{user:?} is not the number of a user and of a group, as in 1000:1000")]
    User { user: String },
    #[error("the secret {name:?} is missing")]
    NoSecret { name: String },
    #[error("the secret {name:?} cannot be a file")]
    SecretName { name: String },
    #[error("this machine has no file system in memory for the run's secrets")]
    NoMemoryFiles,
    #[error("the container engine cannot give GPUs to containers")]
    NoGpus,
    #[error(
        "the container engine at {address} runs without root as the user {owner}: it cannot write \
         the files of the user {user}"
    )]
    EngineOfAnother { address: String, owner: u32, user: u32 },
    #[error("the container cannot be followed")]
    Follow { source: io::Error },
    #[error(transparent)]
    File(#[from] PathError),
}

impl ContainerError {
    /// Returns why the run is over.
    pub(crate) fn reason(&self) -> ExitReason {
        match self {
            Self::Engine(EngineError::DiskFull { .. }) => ExitReason::DiskFull,
            Self::File(error) if error.source.kind() == io::ErrorKind::StorageFull => {
                ExitReason::DiskFull
            }
            Self::NoSecret { .. } | Self::Follow { .. } | Self::File(_) => ExitReason::AgentFault,
            _ => ExitReason::CannotStart,
        }
    }

    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Refused(refused) => Some(refused.hint.clone()),
            Self::NoSource { .. } => {
                Some("name a directory that is there and that you may look into".to_owned())
            }
            Self::SecretName { .. } => Some("give it a name without slashes".to_owned()),
            Self::NoGpus => Some(
                "install the NVIDIA Container Toolkit and restart the engine, or run it without \
                 GPUs"
                    .to_owned(),
            ),
            Self::EngineOfAnother { .. } => Some(
                "start the agent as that user, or say with DOCKER_HOST where your own engine is"
                    .to_owned(),
            ),
            Self::NoMemoryFiles => {
                Some("mount a tmpfs at /dev/shm, or set XDG_RUNTIME_DIR".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_reason_and_what_to_do() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = |source| PathError { action: "create", path: "/r".into(), source };
        let program = || "python".to_owned();
        let mut table = String::new();
        for error in [
            ContainerError::Engine(EngineError::DiskFull { message: "full".to_owned() }),
            ContainerError::Engine(EngineError::Cancelled),
            ContainerError::Nothing,
            ContainerError::NoProgram { program: program(), image: "scratch".to_owned() },
            ContainerError::Refused(ContainerRefused {
                argument: "--volume /x:/x".to_owned(),
                why: "it leads to /etc".to_owned(),
                hint: "copy it".to_owned(),
            }),
            ContainerError::NoSource { path: "/data".into(), source: gone() },
            ContainerError::User { user: "ana".to_owned() },
            ContainerError::NoSecret { name: "T".to_owned() },
            ContainerError::SecretName { name: "a/b".to_owned() },
            ContainerError::NoMemoryFiles,
            ContainerError::NoGpus,
            ContainerError::EngineOfAnother { address: "unix:///s".to_owned(), owner: 7, user: 8 },
            ContainerError::Follow { source: gone() },
            ContainerError::File(path(gone())),
            ContainerError::File(path(full())),
        ] {
            let hint = match error {
                ContainerError::Engine(_) => None,
                _ => error.hint(),
            };
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            table += &format!("{:15}{error}{hint}\n", error.reason().name());
        }
        insta::assert_snapshot!(table, @r#"
        disk_full      the container engine has no disk space left: full
        cannot_start   cancelled
        cannot_start   no program was given
        cannot_start   the program "python" was not found in the image "scratch", which has no shell
        cannot_start   --volume /x:/x: it leads to /etc; copy it
        cannot_start   "/data" cannot be shown to the container; name a directory that is there and that you may look into
        cannot_start   "ana" is not the number of a user and of a group, as in 1000:1000
        agent_fault    the secret "T" is missing
        cannot_start   the secret "a/b" cannot be a file; give it a name without slashes
        cannot_start   this machine has no file system in memory for the run's secrets; mount a tmpfs at /dev/shm, or set XDG_RUNTIME_DIR
        cannot_start   the container engine cannot give GPUs to containers; install the NVIDIA Container Toolkit and restart the engine, or run it without GPUs
        cannot_start   the container engine at unix:///s runs without root as the user 7: it cannot write the files of the user 8; start the agent as that user, or say with DOCKER_HOST where your own engine is
        agent_fault    the container cannot be followed
        agent_fault    cannot create "/r"
        disk_full      cannot create "/r"
        "#);
    }
}
