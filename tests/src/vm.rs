//! A machine to log in to by SSH: a container with its own sshd that says it is an Ubuntu VM, with
//! ways to cut it off, pause it and start it again.
//!
//! This file is also a module of the runner's tests: it needs nothing of this crate.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The image, made by `tests/engine.sh`.
const IMAGE: &str = "trainyard-test-base:2";

/// Who may log in, with [`PASSWORD`] and with every key of [`KeyPair`].
pub const USER: &str = "azureuser";

/// The user's password.
pub const PASSWORD: &str = "Passw0rd!";

/// What decrypts the keys that are encrypted.
pub const PASSPHRASE: &str = "secret";

/// Nothing that is awaited here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the machine is like. As a rule it says it is Ubuntu 22.04 and has no engine.
#[derive(Clone, Debug, Default)]
pub struct VmOptions {
    /// It says which system it really is: Debian, as a rule.
    pub true_system: bool,
    /// It has this machine's Docker engine. The user's home then has the same path on both
    /// machines, so that the engine finds there what is to be mounted.
    pub docker: bool,
    /// The file system of `~/.trainyard` has so many bytes, in memory. Otherwise it is the
    /// container's.
    pub disk_bytes: Option<u64>,
}

/// The key pairs that the user may log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPair {
    /// Ed25519.
    Ed25519,
    /// Ed25519, encrypted.
    Ed25519Encrypted,
    /// RSA of 3072 bits.
    Rsa,
    /// RSA in PEM's own format, encrypted.
    RsaPemEncrypted,
    /// ECDSA.
    Ecdsa,
}

impl KeyPair {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ed25519, Self::Ed25519Encrypted, Self::Rsa, Self::RsaPemEncrypted, Self::Ecdsa];

    /// Returns the path of the private key; that of the public one ends in `.pub`.
    #[must_use]
    pub fn path(self) -> PathBuf {
        keys().join(self.name())
    }

    /// Returns what decrypts it.
    #[must_use]
    pub fn passphrase(self) -> Option<&'static str> {
        matches!(self, Self::Ed25519Encrypted | Self::RsaPemEncrypted).then_some(PASSPHRASE)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ed25519Encrypted => "ed25519_encrypted",
            Self::Rsa => "rsa",
            Self::RsaPemEncrypted => "rsa_pem_encrypted",
            Self::Ecdsa => "ecdsa",
        }
    }

    fn make(self, directory: &Path) {
        let kind: &[&str] = match self {
            Self::Ed25519 | Self::Ed25519Encrypted => &["ed25519"],
            Self::Rsa => &["rsa", "-b", "3072"],
            Self::RsaPemEncrypted => &["rsa", "-b", "3072", "-m", "PEM"],
            Self::Ecdsa => &["ecdsa"],
        };
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-C", self.name(), "-N", self.passphrase().unwrap_or_default(), "-f"]);
        must(command.arg(directory.join(self.name())).arg("-t").args(kind));
    }
}

/// Returns the directory of the key pairs, made once for all tests.
fn keys() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/test-tools");
    let directory = tools.join("ssh-keys");
    if !directory.is_dir() {
        fs::create_dir_all(&tools).unwrap();
        let new = TempDir::new_in(&tools).unwrap();
        KeyPair::ALL.into_iter().for_each(|pair| pair.make(new.path()));
        // Who comes second uses those of who came first.
        let _made_by_another = fs::rename(new.path(), &directory);
        assert!(directory.is_dir());
    }
    directory
}

/// The machine. It is removed when dropped.
pub struct Vm {
    container: String,
    options: VmOptions,
    /// What of this machine's files is the VM's as well, at the same path.
    shared: TempDir,
}

impl Vm {
    /// Starts one and waits until it answers; `None` where there is no engine, which it says.
    ///
    /// # Panics
    ///
    /// Under continuous integration (`CI=true`) where there is no engine.
    #[must_use]
    pub fn start(options: VmOptions) -> Option<Self> {
        if !is_possible() {
            return None;
        }
        let shared = tempfile::Builder::new().prefix("vm").tempdir().unwrap();
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(shared.path().join("start"), START).unwrap();
        let authorized = KeyPair::ALL.map(|pair| fs::read(pair.path().with_extension("pub")));
        let authorized = authorized.map(Result::unwrap).concat();
        fs::write(shared.path().join("authorized_keys"), authorized).unwrap();
        if !options.true_system {
            fs::write(shared.path().join("os-release"), UBUNTU).unwrap();
        }
        let container = run(&options, shared.path());
        let vm = Self { container, options, shared };
        vm.wait();
        Some(vm)
    }

    /// Returns its own address, where sshd is on port 22.
    #[must_use]
    pub fn address(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// Returns the port of 127.0.0.1 that leads to sshd, by way of a process of the engine: a link
    /// that is cut cannot be seen there.
    #[must_use]
    pub fn published_port(&self) -> u16 {
        let port = "{{(index (index .NetworkSettings.Ports \"22/tcp\") 0).HostPort}}";
        self.inspect(port).parse().unwrap()
    }

    /// Returns the user's home directory there.
    #[must_use]
    pub fn user_home(&self) -> PathBuf {
        match self.options.docker {
            true => self.shared.path().join("home"),
            false => Path::new("/home").join(USER),
        }
    }

    /// Carries out a line of shell there as root; it must succeed. Returns what it printed.
    #[track_caller]
    pub fn exec(&self, line: &str) -> String {
        printed(&must(&mut self.command("root", line)))
    }

    /// The same as the user, in the home directory, whatever its exit code.
    #[must_use]
    pub fn exec_as_user(&self, line: &str) -> Output {
        self.command(USER, line).output().unwrap()
    }

    /// Copies a program of this machine there, with the libraries it needs: both are the same
    /// system. Returns whether this machine has it, and says so where not.
    ///
    /// # Panics
    ///
    /// Under continuous integration (`CI=true`) where it has not.
    #[must_use]
    pub fn take_program(&self, name: &str) -> bool {
        let found =
            Command::new("sh").args(["-c", "command -v \"$1\"", "sh", name]).output().unwrap();
        if !found.status.success() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "no {name}: tests/run sees to it"
            );
            eprintln!("\n*** LEFT OUT: {name} is not installed ***\n");
            return false;
        }
        let program = printed(&found);
        let needed = printed(&must(Command::new("ldd").arg(&program)));
        let needed = needed.split_whitespace().filter(|word| word.starts_with('/'));
        for path in needed.chain([program.as_str()]) {
            if !self.command("root", &format!("test -e {path}")).status().unwrap().success() {
                let to = format!("{}:{path}", self.container);
                must(Command::new("docker").args(["cp", "-L", path, &to]));
            }
        }
        true
    }

    /// Returns what sshd logged from the start, at level DEBUG1.
    #[must_use]
    pub fn sshd_log(&self) -> String {
        let output = must(Command::new("docker").args(["logs", &self.container]));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Returns the host's public keys: lines of type, base64 and comment.
    #[must_use]
    pub fn host_keys(&self) -> String {
        self.exec("cat /etc/ssh/ssh_host_*_key.pub")
    }

    /// Makes it another machine to whoever pinned its host keys.
    pub fn change_host_keys(&self) {
        self.exec("rm /etc/ssh/ssh_host_* && ssh-keygen -A");
        self.restart_sshd();
    }

    /// Ends sshd and every session; sshd is started again.
    pub fn restart_sshd(&self) {
        self.reset();
        let old = self.exec("cat /run/sshd.pid");
        self.exec(&format!("kill -9 {old}"));
        self.wait_for("another sshd", || {
            printed(&self.command("root", "cat /run/sshd.pid").output().unwrap()) != old
        });
        self.wait();
    }

    /// Kills the processes of sshd that serve sessions: their connections are closed at once. What
    /// was started over them goes on, if it can.
    pub fn reset(&self) {
        self.exec("pkill -9 -f '^sshd: [^/]' || true");
    }

    /// Stops all its processes where they are, until [`unpause`](Self::unpause).
    pub fn pause(&self) {
        self.docker(&["pause"]);
    }

    /// Lets them go on.
    pub fn unpause(&self) {
        self.docker(&["unpause"]);
    }

    /// Cuts the link to its own address: nothing is answered, nothing is closed.
    pub fn cut(&self) {
        self.link("down");
    }

    /// Mends it.
    pub fn mend(&self) {
        self.link("up");
    }

    /// Kills every process, empties what is in memory and comes up with another boot id. It is the
    /// same kernel, so times since boot go on.
    pub fn reboot(&self) {
        let old = self.exec("cat /run/sshd.pid");
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        self.exec(&format!("echo {} >/var/lib/boot_id", id.trim()));
        // Within its mounts but with this machine's rights.
        let pid = self.inspect("{{.State.Pid}}");
        let mut mount = Command::new("nsenter");
        mount.arg(format!("--mount=/proc/{pid}/ns/mnt")).args(["mount", "--bind"]);
        must(mount.args(["/var/lib/boot_id", "/proc/sys/kernel/random/boot_id"]));
        self.exec("kill -9 -1; find /dev/shm /tmp -mindepth 1 -delete 2>/dev/null; true");
        self.wait_for("sshd after a reboot", || {
            printed(&self.command("root", "cat /run/sshd.pid").output().unwrap()) != old
        });
        self.wait();
    }

    fn link(&self, state: &str) {
        let index = self.exec("cat /sys/class/net/eth0/iflink");
        let links = printed(&must(Command::new("ip").args(["-o", "link"])));
        let line = links.lines().find(|line| line.split(':').next() == Some(index.as_str()));
        let name = line.unwrap().split([':', '@']).nth(1).unwrap().trim().to_owned();
        must(Command::new("ip").args(["link", "set", &name, state]));
    }

    fn command(&self, user: &str, line: &str) -> Command {
        let mut command = Command::new("docker");
        command.args(["exec", "--user", user]);
        if user != "root" {
            let home = self.user_home().display().to_string();
            command.args(["--workdir", &home, "--env", &format!("HOME={home}")]);
        }
        command.args([&self.container, "sh", "-c", line]);
        command
    }

    fn docker(&self, arguments: &[&str]) {
        must(Command::new("docker").args(arguments).arg(&self.container));
    }

    fn inspect(&self, format: &str) -> String {
        let mut command = Command::new("docker");
        printed(&must(command.args(["inspect", "--format", format, &self.container])))
    }

    fn wait(&self) {
        let address = (self.address(), 22);
        self.wait_for("sshd's greeting", || {
            let mut greeting = [0; 4];
            TcpStream::connect((address.0.as_str(), address.1))
                .and_then(|mut stream| stream.read_exact(&mut greeting))
                .is_ok_and(|()| &greeting == b"SSH-")
        });
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let log = || self.sshd_log();
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["rm", "-f", "-v", &self.container]).output());
    }
}

/// What the VM does when it starts; `$1` is the home directory of its user, `$2` that of what it
/// shares with the machine it is on. Bash is what adopts orphans here and buries them.
const START: &str = r#"
set -e
useradd --create-home --home-dir "$1" --shell /bin/bash azureuser
echo 'azureuser:Passw0rd!' | chpasswd
echo 'azureuser ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/azureuser
install -d -m 700 -o azureuser -g azureuser "$1/.ssh"
install -m 600 -o azureuser -g azureuser "$2/authorized_keys" "$1/.ssh/authorized_keys"
[ ! -e "$2/os-release" ] || { rm -f /etc/os-release; cp "$2/os-release" /etc/os-release; }
[ ! -d "$1/.trainyard" ] || { chown azureuser: "$1/.trainyard"; chmod 700 "$1/.trainyard"; }
if [ -S /var/run/docker.sock ]; then
    group=$(stat -c %g /var/run/docker.sock)
    getent group "$group" >/dev/null || groupadd -g "$group" engine
    usermod -aG "$group" azureuser
fi
ssh-keygen -A >/dev/null
mkdir -p /run/sshd
while true; do
    /usr/sbin/sshd -D -e -o PidFile=/run/sshd.pid -o PasswordAuthentication=yes \
        -o KbdInteractiveAuthentication=no -o LogLevel=DEBUG1 || true
done
"#;

const UBUNTU: &str = r#"PRETTY_NAME="Ubuntu 22.04 (a container of tests, its files are another system's)"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
"#;

/// Starts the container and returns its id.
fn run(options: &VmOptions, shared: &Path) -> String {
    let path = shared.display().to_string();
    let home = match options.docker {
        true => format!("{path}/home"),
        false => format!("/home/{USER}"),
    };
    let mut command = Command::new("docker");
    // The parts of the network that tests cut are those of the engine's bridge.
    command.args(["run", "-d", "--hostname", "gpu-vm", "-p", "127.0.0.1::22"]);
    command.args(["-v", &format!("{path}:{path}{}", if options.docker { "" } else { ":ro" })]);
    if options.docker {
        for path in ["/var/run/docker.sock", "/dev/shm"] {
            command.args(["-v", &format!("{path}:{path}")]);
        }
    }
    if let Some(bytes) = options.disk_bytes {
        command.args(["--tmpfs", &format!("{home}/.trainyard:exec,size={bytes}")]);
    }
    command.args([IMAGE, "bash", &format!("{path}/start"), &home, &path]);
    printed(&must(&mut command))
}

fn is_possible() -> bool {
    let image = Command::new("docker").args(["image", "inspect", IMAGE]).output();
    let here = image.is_ok_and(|output| output.status.success());
    if !here {
        let complaint = format!("no Docker engine with {IMAGE}: tests/run sees to both");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{complaint}");
        eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: {complaint} ***\n");
    }
    here
}

#[track_caller]
fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    output
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
