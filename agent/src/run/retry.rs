//! Whether an attempt that ended is followed by another. Pure.

use std::time::Duration;

use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_configuration::{LONGEST_DELAY_SECONDS, RetryOn, RetryPolicy};

/// Another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// How long it waits.
    pub(crate) delay: Duration,
    /// What it is made after.
    pub(crate) why: ExitReason,
}

/// Decides whether attempt `number`, from 1, which ended with `exit`, is followed by another.
pub(crate) fn again(policy: &RetryPolicy, number: u32, exit: &ExitRecord) -> Option<Again> {
    if number > policy.retries || !is_worth_it(exit.reason, policy) {
        return None;
    }
    Some(Again { delay: delay_before(policy, number + 1), why: exit.reason })
}

/// Returns how long attempt `number`, from 2, waits: each twice as long as the one before.
pub(crate) fn delay_before(policy: &RetryPolicy, number: u32) -> Duration {
    let factor = 1_u64.checked_shl(number.saturating_sub(2)).unwrap_or(u64::MAX);
    let seconds = policy.delay_seconds.saturating_mul(factor).min(LONGEST_DELAY_SECONDS);
    Duration::from_secs(seconds)
}

/// Says whether an end may be another the next time: the script's doing only where that was asked
/// for, the machine's always, and never what would fail the same way.
fn is_worth_it(reason: ExitReason, policy: &RetryPolicy) -> bool {
    use ExitReason as R;
    match reason {
        R::ScriptFailed | R::Signal => policy.on.contains(&RetryOn::Failure),
        R::OutOfMemory => policy.on.contains(&RetryOn::Oom),
        R::TimeLimit => policy.on.contains(&RetryOn::Timeout),
        R::HostRebooted
        | R::LostContact
        | R::SupervisorKilled
        | R::EngineStopped
        | R::AgentFault => true,
        R::Completed
        | R::Cancelled
        | R::DiskFull
        | R::DiskLimit
        | R::EnvironmentFailed
        | R::SandboxFailed
        | R::CannotStart
        | R::DependencyFailed => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn ended(reason: ExitReason) -> ExitRecord {
        ExitRecord::new(reason, "", Timestamp::UNIX_EPOCH)
    }

    fn policy(on: &[RetryOn]) -> RetryPolicy {
        RetryPolicy::new(3, on.iter().copied().collect(), None)
    }

    #[test]
    fn every_end_is_decided_on() {
        use RetryOn::{Failure, Oom, Timeout};
        let mut table = String::new();
        for reason in ExitReason::ALL {
            let cell = |on| again(&policy(on), 1, &ended(reason)).map_or("-", |_| "again");
            let cells = [cell(&[]), cell(&[Failure]), cell(&[Oom]), cell(&[Timeout])];
            table += &format!(
                "{:20}{}\n",
                reason.name(),
                cells.map(|it| format!("{it:8}")).concat().trim_end()
            );
        }
        insta::assert_snapshot!(table, @"
        completed           -       -       -       -
        script_failed       -       again   -       -
        signal              -       again   -       -
        out_of_memory       -       -       again   -
        time_limit          -       -       -       again
        cancelled           -       -       -       -
        disk_full           -       -       -       -
        disk_limit          -       -       -       -
        host_rebooted       again   again   again   again
        lost_contact        again   again   again   again
        supervisor_killed   again   again   again   again
        environment_failed  -       -       -       -
        sandbox_failed      -       -       -       -
        cannot_start        -       -       -       -
        engine_stopped      again   again   again   again
        dependency_failed   -       -       -       -
        agent_fault         again   again   again   again
        ");
    }

    #[test]
    fn delays_double_up_to_an_hour() {
        let policy = RetryPolicy::new(100, Default::default(), Some(10));
        let exit = ended(ExitReason::HostRebooted);
        let delay = |number| again(&policy, number, &exit).unwrap().delay.as_secs();
        assert_eq!(
            [1, 2, 3, 9, 10, 64, 65, 100].map(delay),
            [10, 20, 40, 2560, 3600, 3600, 3600, 3600]
        );
        assert_eq!(again(&policy, 101, &exit), None);
    }

    proptest! {
        #[test]
        fn no_run_has_more_attempts_than_asked_for(retries in 1_u32..=100, reason in 0..ExitReason::ALL.len(), delay in 0_u64..=3600) {
            let on = [RetryOn::Failure, RetryOn::Oom, RetryOn::Timeout].into();
            let policy = RetryPolicy::new(retries, on, Some(delay));
            let exit = ended(ExitReason::ALL[reason]);
            let mut number = 1;
            let mut before = Duration::ZERO;
            while let Some(Again { delay, .. }) = again(&policy, number, &exit) {
                prop_assert!(delay >= before && delay.as_secs() <= LONGEST_DELAY_SECONDS);
                before = delay;
                number += 1;
            }
            prop_assert!(number == 1 || number == policy.attempts());
        }
    }
}
