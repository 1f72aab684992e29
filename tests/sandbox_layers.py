"""What tests/mutations takes out of the sandbox, one after the other: the layer, the file, the text that
makes it, what it becomes, and where to look first for the test that misses it."""

import typing

SANDBOX = "runner/src/sandbox"
BWRAP, PLAN, PLACES = f"{SANDBOX}/bwrap.rs", f"{SANDBOX}/plan.rs", f"{SANDBOX}/places.rs"
INNER, MOUNTS, LANDLOCK = f"{SANDBOX}/inner.rs", f"{SANDBOX}/mounts.rs", f"{SANDBOX}/landlock.rs"
CALLS, CGROUP = f"{SANDBOX}/system_calls.rs", f"{SANDBOX}/cgroup.rs"
NETWORK, KEEPER = f"{SANDBOX}/network.rs", f"{SANDBOX}/network/keeper.rs"
START = "runner/src/supervisor/sandboxed.rs"
SCRIPT = "runner/src/supervisor/script.rs"
LOCAL = "runner/src/supervisor/local_process.rs"
OUTPUTS = "runner/src/outputs.rs"

# Where to look first.
ALONE = "sandbox_layers"
FILTER = "the_filter_of_the_sandbox_alone"
LIMITS = "the_limits_of_a_sandbox"

SYS_RESOURCE = "only root with CAP_SYS_RESOURCE has more of it to lose"


class Mutation(typing.NamedTuple):
    """A layer that is taken out."""

    layer: str
    # (file, text that is in it exactly once, what it becomes)
    edits: tuple
    # Tests that are tried before all others of the sandbox.
    first: str = "sandbox_escapes"
    # Which tests are to miss it: those that try runs, or those of the crate's own parts.
    unit: bool = False
    # Why none of the first may miss this one; the others are not tried then.
    stays: str = ""


def one(layer, file, old, new="", first="sandbox_escapes", **more):
    return Mutation(layer, ((file, old, new),), first, **more)


def group(layer, text, file=CALLS, **more):
    return one("system calls: " + layer, file, text, "", FILTER, **more)


MUTATIONS = [
    # Namespaces.
    one("namespace of users", BWRAP, '        arguments.add(["--unshare-user"]);\n', "", ALONE),
    Mutation(
        "namespace of processes",
        ((BWRAP, '"--unshare-pid", ', ""), (BWRAP, '"--as-pid-1", ', "")),
        "processes_of_others",
    ),
    one("namespace of System V's queues", BWRAP, '"--unshare-ipc", ', "", "processes_of_others"),
    one("namespace of the host's name", BWRAP, '"--unshare-uts", ', "", "processes_of_others"),
    one("namespace of cgroups", BWRAP, ', "--unshare-cgroup-try"', "", "processes_of_others"),
    one("network: alone", BWRAP, '        arguments.add(["--unshare-net"]);\n', "", "sockets"),
    one(
        "network: connected",
        NETWORK,
        "(Some(pasta), None) => return (RoomNetwork::Connected(pasta.clone()), None),",
        "(Some(_), None) => return (RoomNetwork::Machine, None),",
        "sockets",
    ),
    one(
        "network: metadata leads nowhere",
        KEEPER,
        "for address in CLOSED {",
        "for address in CLOSED.into_iter().take(0) {",
        "sockets",
    ),
    one("network: no way by the gateway", KEEPER, ', "--no-map-gw"', "", "sandbox_network"),
    one(
        "network: no way to the loopback",
        KEEPER,
        ', "-T", "none", "-U", "none"',
        "",
        "sandbox_network",
    ),
    one("network: no way in", KEEPER, '"-t", "none", "-u", "none", ', "", "sandbox_network"),
    one(
        "network: a resolver within reach",
        PLACES,
        "        places.resolver = fs::read_to_string(RESOLVER).ok().and_then(|text| resolver::own(&text));\n",
        "",
        "sandbox_network",
    ),
    # What is seen.
    one("root, read-only", BWRAP, '    arguments.add(["--remount-ro", "/"]);\n', "", "files"),
    one(
        "empty directories, read-only",
        BWRAP,
        '        arguments.path("--remount-ro", &view.at);\n',
        "",
        "files",
    ),
    one(
        "system, read-only",
        BWRAP,
        'self.paths("--ro-bind", source, at)',
        'self.paths("--bind", source, at)',
        "files",
    ),
    one(
        "own /tmp",
        PLAN,
        'Seen::Given(places.temporary.join("tmp"))',
        'Seen::Given("/tmp".into())',
        "files",
    ),
    one(
        "own /var/tmp",
        PLAN,
        'Seen::Given(places.temporary.join("var-tmp"))',
        'Seen::Given("/var/tmp".into())',
        "files",
    ),
    one(
        "own /dev/shm",
        PLAN,
        "Seen::Memory(policy.shm_bytes.or(memory))",
        '{ let _ = memory; Seen::Given("/dev/shm".into()) }',
        "files",
    ),
    one(
        "own home",
        PLAN,
        "Seen::Given(home_in(&places.temporary))",
        "Seen::Given(home.into())",
        "the_work_of_a_run",
    ),
    one(
        "nothing of /run",
        PLAN,
        '("/run", Seen::Empty)',
        '("/run", Seen::Shown("/run".into()))',
        "files",
    ),
    one(
        "own /dev",
        PLAN,
        '("/dev", Seen::Devices)',
        '("/dev", Seen::Shown("/dev".into()))',
        "files",
    ),
    one(
        "own /proc",
        PLAN,
        '("/proc", Seen::Processes)',
        '("/proc", Seen::Shown("/proc".into()))',
        "processes_of_others",
    ),
    one("nothing of /sys/firmware", PLAN, '&["/sys/firmware", "/sys/fs"', '&["/sys/fs"', "files"),
    one("nothing of /sys/fs", PLAN, '"/sys/fs", "/sys/kernel"]', '"/sys/kernel"]', "files"),
    one("nothing of /sys/kernel", PLAN, ', "/sys/kernel"]', "]", "files"),
    one(
        "nothing of /sys/class/net",
        PLAN,
        '        views.push(view(Path::new("/sys/class/net"), Seen::Empty));\n',
        "",
        "sockets",
    ),
    # Mounts.
    one(
        "mounts: what no run is shown",
        MOUNTS,
        "guarded.filter(|_| real != mount.source)",
        "guarded.filter(|_| false)",
        "sandbox_mounts",
    ),
    one(
        "mounts: out of what is listed",
        MOUNTS,
        "if bounds.is_some_and(|bounds| !bounds.iter().any(is_within)) {",
        "if bounds.is_some_and(|bounds| bounds.iter().all(is_within) && false) {",
        "sandbox_mounts",
    ),
    one(
        "mounts: by where they were",
        MOUNTS,
        "                source.clone_from(&opened.real);\n",
        "",
        "sandbox_mounts",
    ),
    one(
        "mounts: what was checked",
        MOUNTS,
        "if Self::of(&self.path, &file).map_err(closed)? != *self {",
        "if false {",
        "sandbox_mounts",
    ),
    one(
        "mounts: read-only",
        PLAN,
        "if *writable { Seen::Given(source) } else { Seen::Shown(source) }",
        "{ let _ = writable; Seen::Given(source) }",
        "sandbox_mounts",
    ),
    one(
        "mounts: read-only by Landlock",
        PLAN,
        "policy.mounts.iter().filter(|mount| mount.writable)",
        "policy.mounts.iter()",
        "sandbox_mounts",
    ),
    # Privileges.
    one("bubblewrap gives up capabilities", BWRAP, ', "--cap-drop", "ALL"', "", ALONE),
    one(
        "capabilities",
        INNER,
        "    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;\n",
        "    let _ = none;\n",
        "nobody_becomes",
    ),
    one(
        "bounding set",
        INNER,
        "match remove_capability_from_bounding_set(capability) {",
        "match { let _ = capability; Ok::<(), Errno>(()) } {",
        "nobody_becomes",
    ),
    one("no new privileges", INNER, "    set_no_new_privs(true)?;\n", "", "nobody_becomes"),
    # Landlock.
    one(
        "Landlock",
        INNER,
        "        fence.put_up(&opened)?;\n",
        "        let _: (_, &std::collections::BTreeMap<PathBuf, OwnedFd>) = (fence, &opened);\n",
        "where_bubblewrap",
    ),
    one(
        "Landlock: sockets and signals",
        LANDLOCK,
        "            .scope(Scope::from_all(NEWEST))?\n",
        "",
        "processes_of_others",
    ),
    one(
        "Landlock: writes",
        PLAN,
        'return Fence { read: paths(&["/"]), write,',
        'write.push("/".into());\n        return Fence { read: paths(&["/"]), write,',
        "processes_of_others",
    ),
    one(
        "Landlock: reads, without rooms",
        PLAN,
        "let mut read = places.system.clone();",
        'let mut read = paths(&["/"]);',
        "where_bubblewrap",
    ),
    # System calls.
    one("system calls", INNER, "    if inside.filter\n", "    if false && inside.filter\n", "the_kernel"),
    group(
        "code of the kernel",
        '    "loads code into the kernel":\n'
        '        bpf SYS_bpf, init_module SYS_init_module, finit_module SYS_finit_module,\n'
        '        delete_module SYS_delete_module, kexec_load SYS_kexec_load;\n',
    ),
    group(
        "watching",
        '    "watches the kernel and other processes": perf_event_open SYS_perf_event_open,\n'
        '        kcmp SYS_kcmp, syslog SYS_syslog, fanotify_init SYS_fanotify_init;\n',
    ),
    group(
        "userfaultfd",
        '    "stops the kernel in the middle of its work, which attacks on it need":\n'
        '        userfaultfd SYS_userfaultfd;\n',
    ),
    group(
        "io_uring",
        '    "does what this list refuses without being asked call by call":\n'
        '        io_uring_setup SYS_io_uring_setup, io_uring_enter SYS_io_uring_enter,\n'
        '        io_uring_register SYS_io_uring_register;\n',
    ),
    group(
        "keys",
        '    "keys belong to the user, not to the run":\n'
        '        keyctl SYS_keyctl, add_key SYS_add_key, request_key SYS_request_key;\n',
    ),
    group("ptrace", '    "takes over another process": ptrace SYS_ptrace;\n'),
    group(
        "mounts",
        '    "changes what is seen of the disk":\n'
        '        mount SYS_mount, umount2 SYS_umount2, pivot_root SYS_pivot_root, chroot SYS_chroot,\n'
        '        move_mount SYS_move_mount, open_tree SYS_open_tree, fsopen SYS_fsopen,\n'
        '        fsmount SYS_fsmount, fsconfig SYS_fsconfig, fspick SYS_fspick,\n'
        '        mount_setattr SYS_mount_setattr;\n',
    ),
    group(
        "namespaces",
        '    "makes or enters namespaces, in which everybody is root":\n'
        '        setns SYS_setns, unshare SYS_unshare;\n',
    ),
    group(
        "handles",
        '    "opens files past what is seen of the disk": open_by_handle_at SYS_open_by_handle_at;\n',
    ),
    group(
        "the machine",
        '    "belongs to the machine":\n'
        '        reboot SYS_reboot, swapon SYS_swapon, swapoff SYS_swapoff, acct SYS_acct,\n'
        '        quotactl SYS_quotactl, settimeofday SYS_settimeofday, clock_settime SYS_clock_settime,\n'
        '        clock_adjtime SYS_clock_adjtime, adjtimex SYS_adjtimex, sethostname SYS_sethostname,\n'
        '        setdomainname SYS_setdomainname, vhangup SYS_vhangup;\n',
    ),
    group(
        "ports",
        '    "belongs to the machine":\n'
        '        iopl SYS_iopl, ioperm SYS_ioperm, kexec_file_load SYS_kexec_file_load;\n',
        stays="kernels without these calls answer as if they were refused",
    ),
    group(
        "old ones",
        '    "is of old programs only, and rarely looked at":\n'
        '        modify_ldt SYS_modify_ldt, uselib SYS_uselib, ustat SYS_ustat, sysfs SYS_sysfs;\n',
    ),
    one(
        "system calls: of x32",
        CALLS,
        "    seccompiler::apply_filter(&foreign)?;\n",
        "    let _ = foreign;\n",
        "the_kernel",
    ),
    one(
        "system calls: clone3",
        CALLS,
        "    seccompiler::apply_filter(&clone3)?;\n",
        "    let _ = clone3;\n",
        FILTER,
    ),
    one(
        "system calls: namespaces by clone",
        CALLS,
        "number: libc::SYS_clone,",
        "number: libc::SYS_ustat,",
        FILTER,
    ),
    one(
        "sockets: families",
        CALLS,
        "let mut rules = families()?;",
        "let mut rules = Vec::new();",
        FILTER,
    ),
    one(
        "sockets: raw",
        CALLS,
        "for family in [libc::AF_INET, libc::AF_INET6] {",
        "for family in [] {",
        FILTER,
    ),
    one(
        "sockets: of the kernel",
        CALLS,
        "    rules.push(SeccompRule::new(vec![is(0, libc::AF_NETLINK)?, no_routes])?);\n",
        "    let _ = no_routes;\n",
        FILTER,
    ),
    one(
        "sockets: pairs",
        CALLS,
        "number: libc::SYS_socketpair,",
        "number: libc::SYS_ustat,",
        FILTER,
    ),
    one(
        "terminals: typing",
        CALLS,
        "[libc::TIOCSTI, libc::TIOCLINUX]",
        "[libc::TIOCLINUX]",
        FILTER,
    ),
    one(
        "terminals: the console",
        CALLS,
        "[libc::TIOCSTI, libc::TIOCLINUX]",
        "[libc::TIOCSTI]",
        FILTER,
    ),
    # The stage within.
    one(
        "stage: its memory and descriptors",
        INNER,
        "    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;\n",
        "",
        "processes_of_others",
    ),
    one(
        "stage: closes what it inherits",
        INNER,
        "    close_inherited_files()?;\n",
        "",
        "nothing_of_ours",
    ),
    one("stage: empty environment of the script", INNER, "        .env_clear()\n", "", ALONE),
    one("stage: empty environment", START, ".args(numbers).env_clear()", ".args(numbers)", ALONE),
    one("stage: a session of the script's own", INNER, "        setsid()?;\n", "", "grace"),
    one("limits: core files", INNER, "[Resource::RLIMIT_CORE, ", "[", LIMITS),
    one("limits: real time", INNER, "Resource::RLIMIT_RTPRIO, ", "", LIMITS, stays=SYS_RESOURCE),
    one("limits: priority", INNER, ", Resource::RLIMIT_NICE]", "]", LIMITS, stays=SYS_RESOURCE),
    # The end.
    one(
        "end: of the script with the stage",
        INNER,
        "        set_pdeathsig(Signal::SIGKILL)?;\n",
        "",
        ALONE,
    ),
    one(
        "end: of bubblewrap with the supervisor",
        BWRAP,
        '"--die-with-parent", ',
        "",
        ALONE,
    ),
    one(
        "end: of all in its cgroups",
        LOCAL,
        "self.cgroups.end().and(process_tree::end_descendants(&mut self.reaper))",
        "process_tree::end_descendants(&mut self.reaper)",
        "cgroups",
    ),
    one(
        "end: of all that descends from it",
        LOCAL,
        "self.cgroups.end().and(process_tree::end_descendants(&mut self.reaper))",
        "self.cgroups.end()",
        "process_tree",
    ),
    # Limits.
    one(
        "cgroups: limits",
        CGROUP,
        "            apply(group, limits, &mut this.lost);\n",
        "            let _ = group;\n",
        "cgroups",
    ),
    one(
        "cgroups: the script is in them",
        SCRIPT,
        "            join.enter();\n",
        "            let _ = join;\n",
        "cgroups",
    ),
    # What is taken out of it.
    one(
        "outputs: files with other names",
        OUTPUTS,
        "FileType::RegularFile if before.st_nlink > 1 => {",
        "FileType::RegularFile if before.st_nlink > 9999 => {",
        "outputs",
        unit=True,
    ),
    one(
        "outputs: other file systems",
        OUTPUTS,
        "\n            | ResolveFlags::NO_XDEV",
        "",
        "outputs",
        unit=True,
    ),
    one(
        "outputs: what was changed",
        OUTPUTS,
        "if of(&now) != of(before) || (is_file && now.st_nlink != 1) {",
        "if (of(&now), is_file) != (of(&now), is_file) {",
        "outputs",
        unit=True,
    ),
    one(
        "outputs: sizes",
        OUTPUTS,
        "if over_bytes || self",
        "if (over_bytes && false) || self",
        "outputs",
        unit=True,
    ),
    one(
        "outputs: counts",
        OUTPUTS,
        " || self.found.files.len() >= self.limits.max_files",
        "",
        "outputs",
        unit=True,
    ),
    one(
        "outputs: depth",
        OUTPUTS,
        "FileType::Directory if depth >= self.limits.max_depth => {",
        "FileType::Directory if depth >= 9999 => {",
        "outputs",
        unit=True,
    ),
]
