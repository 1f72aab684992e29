//! Which machines will do, and whom they believe.

use std::time::Duration;

use runner::compute_target::ssh::SshTarget;
use runner::compute_target::{ComputeTarget as _, SupervisorState, TargetError};
use runner::exit_record::ExitReason;
use runner::ssh::SshError;

use crate::support::{Attached, Home, IMPATIENCE, endpoint, key};
use crate::vm::{Vm, VmOptions};

#[test]
fn a_debian_is_refused_unless_it_is_allowed() {
    let options = VmOptions { true_system: true, ..VmOptions::default() };
    let Some(vm) = Vm::start(options) else { return };
    let system = vm.exec(". /etc/os-release; echo $ID; echo $PRETTY_NAME");
    let (id, name) = system.split_once('\n').unwrap();
    if id == "ubuntu" {
        return;
    }
    let home = Home::new("agent");
    let error = SshTarget::first_contact(&endpoint(&vm), &home.side, false).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(error.hint().unwrap(), "--allow-unsupported attaches it all the same");
    assert_eq!(vm.exec("ls -A /home/azureuser | grep trainyard || true"), "");

    let first = SshTarget::first_contact(&endpoint(&vm), &home.side, true).unwrap();
    assert_eq!(first.report.os.as_deref(), Some(id));
}

#[test]
fn another_architecture_is_refused() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    vm.exec(
        "mv /usr/bin/uname /usr/bin/uname.true; printf '#!/bin/sh\n\
         [ \"$1\" = -m ] && echo riscv64 || exec uname.true \"$@\"\n' >/usr/bin/uname; \
         chmod 755 /usr/bin/uname",
    );
    let home = Home::new("agent");
    let error = SshTarget::first_contact(&endpoint(&vm), &home.side, true).unwrap_err();
    assert!(error.to_string().starts_with("the machine is Linux on riscv64;"), "{error}");
    assert_eq!(vm.exec("ls -A /home/azureuser | grep trainyard || true"), "");
}

#[test]
fn the_first_contact_tells_what_the_machine_is() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    // Shells that say something first, or are of another kind, are no hindrance.
    vm.exec(
        "echo 'echo Welcome to $HOSTNAME' >>/home/azureuser/.bashrc; \
             sed -i 's/^case .*/case i in/' /home/azureuser/.bashrc",
    );
    let home = Home::new("agent");
    let first = SshTarget::first_contact(&endpoint(&vm), &home.side, false).unwrap();
    assert_eq!(first.report.os.as_deref(), Some("ubuntu"));
    assert_eq!(first.report.os_version.as_deref(), Some("22.04"));
    assert_eq!(first.report.user, "azureuser");
    let key = first.host_key.key.clone();
    assert!(vm.host_keys().contains(&key));
}

#[test]
fn a_changed_host_key_is_a_condition_until_it_is_accepted() {
    let Some(mut attached) = Attached::new() else { return };
    let run = attached.home.script("print('done')");
    {
        let target = attached.target();
        run.prepare(&target).unwrap();
        run.start(&target);
    }
    attached.vm.change_host_keys();
    let outdated = attached.target();
    let error = outdated.wait(&run.directory, Duration::from_secs(1)).unwrap_err();
    let TargetError::OutOfContact { contact, .. } = &error else { panic!("{error}") };
    assert!(contact.why.contains("has changed"), "{contact:?}");
    let hint = error.hint().unwrap();
    assert_eq!(outdated.out_of_contact().unwrap().hint, Some(hint.clone()));

    let TargetError::Ssh(SshError::HostKeyChanged { found, .. }) = outdated.report().unwrap_err()
    else {
        panic!()
    };
    let command =
        format!("trainyard target check gpu-vm --accept-host-key {}", found.fingerprint());
    assert!(hint.contains(&command), "{hint}");

    // The other goes on in vain.
    attached.spec.host_key = *found;
    let target = attached.target();
    assert_eq!(run.end(&target).reason, ExitReason::Completed);
    assert_eq!(target.report().unwrap().user, "azureuser");
    target.release(&run.directory).unwrap();
}

#[test]
fn a_login_that_is_denied_is_a_condition() {
    let Some(attached) = Attached::new() else { return };
    let run = attached.home.script("print('done')");
    {
        let target = attached.target();
        run.prepare(&target).unwrap();
        run.start(&target);
    }
    attached.vm.exec("mv /home/azureuser/.ssh/authorized_keys /root/");
    let denied = SshTarget::with_patience(
        attached.spec.clone(),
        vec![key()],
        attached.home.side.clone(),
        IMPATIENCE,
    );
    let error = denied.wait(&run.directory, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, TargetError::OutOfContact { .. }), "{error}");
    assert!(matches!(denied.report(), Err(TargetError::Ssh(SshError::Denied { .. }))));
    drop(denied);

    attached.vm.exec("mv /root/authorized_keys /home/azureuser/.ssh/");
    let target = attached.target();
    assert_eq!(run.end(&target).reason, ExitReason::Completed);
    assert!(matches!(target.probe(&run.directory).unwrap(), SupervisorState::Ended(_)));
}
