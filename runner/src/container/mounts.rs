//! What of the machine a container is to see: `--volume`, `--mount`, `--tmpfs`. Pure.

use std::path::{Path, PathBuf};

use images::engine::Mount;

use super::arguments::Given;
use super::policy::{ContainerPolicy, resolved};
use super::{ContainerRefused, IO_DIRECTORY, SECRETS_DIRECTORY, TEMPORARY, WORKING_DIRECTORY};

/// What an option adds to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Mount(Mount),
    /// A file system in memory: where, and its options.
    Memory(String, String),
}

/// Reads `SOURCE:TARGET[:OPTIONS]`.
pub(super) fn volume(given: &Given, policy: &ContainerPolicy) -> Result<Added, ContainerRefused> {
    let parts: Vec<&str> = given.value.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            return Err(given.refuse(
                "it is not SOURCE:TARGET or SOURCE:TARGET:ro",
                "name a directory of the machine and where it is to be seen, as /data:/data:ro",
            ));
        }
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            // Labels for SELinux and hints for other systems; nothing here depends on them.
            "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" => {}
            other => return Err(unknown_option(given, other)),
        }
    }
    bind(given, policy, source, target, read_only)
}

/// Reads `type=bind,source=…,target=…[,readonly]` and `type=tmpfs,target=…`.
pub(super) fn mount(given: &Given, policy: &ContainerPolicy) -> Result<Added, ContainerRefused> {
    let (mut kind, mut source, mut target) = ("volume", "", "");
    let mut read_only = false;
    let mut size = None;
    for field in given.value.split(',') {
        let (name, value) = field.split_once('=').unwrap_or((field, "true"));
        match name {
            "type" => kind = value,
            "source" | "src" => source = value,
            "target" | "destination" | "dst" => target = value,
            "readonly" | "ro" => read_only = !matches!(value, "false" | "0"),
            "tmpfs-size" => size = Some(value),
            "consistency" => {}
            other => return Err(unknown_option(given, other)),
        }
    }
    match kind {
        "bind" => bind(given, policy, source, target, read_only),
        "tmpfs" => {
            let options = size.map(|size| format!("size={size}")).unwrap_or_default();
            Ok(Added::Memory(target_of(given, target)?, memory_options(given, &options)?))
        }
        other => Err(given.refuse(
            format!("a mount of type {other:?} would stay behind when the run is over"),
            "use type=bind with a directory of the machine, or type=tmpfs",
        )),
    }
}

/// Reads `TARGET[:OPTIONS]`.
pub(super) fn tmpfs(given: &Given) -> Result<Added, ContainerRefused> {
    let (target, options) = given.value.split_once(':').unwrap_or((&given.value, ""));
    Ok(Added::Memory(target_of(given, target)?, memory_options(given, options)?))
}

fn memory_options(given: &Given, options: &str) -> Result<String, ContainerRefused> {
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        if !matches!(
            name,
            "size"
                | "mode"
                | "uid"
                | "gid"
                | "ro"
                | "rw"
                | "noexec"
                | "exec"
                | "nosuid"
                | "nodev"
                | "nr_inodes"
                | "noatime"
        ) {
            return Err(unknown_option(given, name));
        }
    }
    Ok(options.to_owned())
}

fn unknown_option(given: &Given, option: &str) -> ContainerRefused {
    given.refuse(
        format!("{option:?} is not among the options of mounts that a run may use"),
        "leave it out",
    )
}

fn bind(
    given: &Given,
    policy: &ContainerPolicy,
    source: &str,
    target: &str,
    read_only: bool,
) -> Result<Added, ContainerRefused> {
    if !source.starts_with('/') {
        return Err(given.refuse(
            format!("{source:?} names a volume of the engine, which would stay behind"),
            "name a directory of the machine by its absolute path",
        ));
    }
    if source.contains('\0') {
        return Err(given.refuse("a path holds no NUL", "name a directory by its absolute path"));
    }
    let source: PathBuf = resolved(Path::new(source));
    if let Some(why) = policy.refusal(&source, None) {
        return Err(given.refuse(why, allow_hint(&source)));
    }
    Ok(Added::Mount(Mount { source, target: target_of(given, target)?, read_only }))
}

/// Says what would allow `source` to be seen.
pub(crate) fn allow_hint(source: &Path) -> String {
    format!(
        "copy what the run needs into its source directory; an administrator can allow this one \
         with \"--volume={}\" under [docker] allow",
        source.display()
    )
}

/// Returns `target` if it hides nothing that the run needs.
fn target_of(given: &Given, target: &str) -> Result<String, ContainerRefused> {
    if !target.starts_with('/') || target.contains([':', '\0']) {
        return Err(given.refuse(
            format!("{target:?} is no absolute path"),
            "say where in the container it is to be seen, as /data",
        ));
    }
    let clean = resolved(Path::new(target));
    // What is put into the working directory or /tmp hides nothing but what is there.
    let whole = [WORKING_DIRECTORY, TEMPORARY];
    let hides = whole.iter().any(|ours| Path::new(ours).starts_with(&clean))
        || [IO_DIRECTORY, SECRETS_DIRECTORY]
            .iter()
            .any(|ours| Path::new(ours).starts_with(&clean) || clean.starts_with(ours));
    if hides {
        return Err(given.refuse(
            "it would hide what the run itself needs",
            "choose another place in the container, as /data",
        ));
    }
    Ok(clean.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::arguments::read;

    fn shown(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let given = read(&arguments).unwrap().remove(0);
        let policy = ContainerPolicy::default();
        let added = match given.known.name {
            "--volume" => volume(&given, &policy),
            "--mount" => mount(&given, &policy),
            _ => tmpfs(&given),
        };
        match added {
            Ok(Added::Mount(Mount { source, target, read_only })) => {
                format!("{} at {target}{}", source.display(), if read_only { ", ro" } else { "" })
            }
            Ok(Added::Memory(target, options)) => format!("memory at {target}, {options:?}"),
            Err(refused) => format!("REFUSED {refused}"),
        }
    }

    fn table(arguments: &[[&str; 2]]) -> String {
        let row = |[option, value]: &[&str; 2]| {
            format!("{option} {value}\n    {}\n", shown(&[option, value]))
        };
        arguments.iter().map(row).collect()
    }

    #[test]
    fn volumes_are_read_as_docker_reads_them_and_hide_nothing() {
        let arguments = [
            ["-v", "/data:/data"],
            ["-v", "/data/./x/../y:/in:ro,z"],
            ["-v", "/data:/azureml-run/data"],
            ["-v", "/data"],
            ["-v", "data:/data"],
            ["-v", "./data:/data"],
            ["-v", "~/data:/data"],
            ["-v", "/data:data"],
            ["-v", "/data:/data:rshared"],
            ["-v", "/a:/b:ro:c"],
            ["-v", "/x/../etc:/x"],
            ["-v", "/var/run/docker.sock:/var/run/docker.sock"],
            ["-v", "/data:/"],
            ["-v", "/data:/run"],
            ["-v", "/data:/run/secrets/x"],
            ["-v", "/data:/tmp/.."],
            ["-v", "/data:/azureml-run"],
        ];
        insta::assert_snapshot!(table(&arguments), @r#"
        -v /data:/data
            /data at /data
        -v /data/./x/../y:/in:ro,z
            /data/y at /in, ro
        -v /data:/azureml-run/data
            /data at /azureml-run/data
        -v /data
            REFUSED --volume /data: it is not SOURCE:TARGET or SOURCE:TARGET:ro
        -v data:/data
            REFUSED --volume data:/data: "data" names a volume of the engine, which would stay behind
        -v ./data:/data
            REFUSED --volume ./data:/data: "./data" names a volume of the engine, which would stay behind
        -v ~/data:/data
            REFUSED --volume ~/data:/data: "~/data" names a volume of the engine, which would stay behind
        -v /data:data
            REFUSED --volume /data:data: "data" is no absolute path
        -v /data:/data:rshared
            REFUSED --volume /data:/data:rshared: "rshared" is not among the options of mounts that a run may use
        -v /a:/b:ro:c
            REFUSED --volume /a:/b:ro:c: it is not SOURCE:TARGET or SOURCE:TARGET:ro
        -v /x/../etc:/x
            REFUSED --volume /x/../etc:/x: /etc is the machine's own
        -v /var/run/docker.sock:/var/run/docker.sock
            REFUSED --volume /var/run/docker.sock:/var/run/docker.sock: whoever reaches the engine's socket is root on the machine
        -v /data:/
            REFUSED --volume /data:/: it would hide what the run itself needs
        -v /data:/run
            REFUSED --volume /data:/run: it would hide what the run itself needs
        -v /data:/run/secrets/x
            REFUSED --volume /data:/run/secrets/x: it would hide what the run itself needs
        -v /data:/tmp/..
            REFUSED --volume /data:/tmp/..: it would hide what the run itself needs
        -v /data:/azureml-run
            REFUSED --volume /data:/azureml-run: it would hide what the run itself needs
        "#);
    }

    #[test]
    fn other_mounts_are_of_the_machine_or_in_memory() {
        let arguments = [
            ["--mount", "type=bind,source=/data,target=/in,readonly"],
            ["--mount", "type=bind,src=/,dst=/host"],
            ["--mount", "source=data,target=/in"],
            ["--mount", "type=tmpfs,dst=/cache,tmpfs-size=64m"],
            ["--mount", "type=bind,source=/data,target=/in,bind-propagation=shared"],
            ["--tmpfs", "/cache:size=1g,mode=1777"],
            ["--tmpfs", "/cache"],
            ["--tmpfs", "/cache:suid"],
            ["--tmpfs", "/run/trainyard"],
        ];
        insta::assert_snapshot!(table(&arguments), @r#"
        --mount type=bind,source=/data,target=/in,readonly
            /data at /in, ro
        --mount type=bind,src=/,dst=/host
            REFUSED --mount type=bind,src=/,dst=/host: /boot is in it, which is the machine's own
        --mount source=data,target=/in
            REFUSED --mount source=data,target=/in: a mount of type "volume" would stay behind when the run is over
        --mount type=tmpfs,dst=/cache,tmpfs-size=64m
            memory at /cache, "size=64m"
        --mount type=bind,source=/data,target=/in,bind-propagation=shared
            REFUSED --mount type=bind,source=/data,target=/in,bind-propagation=shared: "bind-propagation" is not among the options of mounts that a run may use
        --tmpfs /cache:size=1g,mode=1777
            memory at /cache, "size=1g,mode=1777"
        --tmpfs /cache
            memory at /cache, ""
        --tmpfs /cache:suid
            REFUSED --tmpfs /cache:suid: "suid" is not among the options of mounts that a run may use
        --tmpfs /run/trainyard
            REFUSED --tmpfs /run/trainyard: it would hide what the run itself needs
        "#);
    }
}
