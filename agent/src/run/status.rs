//! Where a run stands, and what may follow.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a run stands. The names are those of the Azure ML run statuses.
///
/// ```text
///                 (the agent went away before the script started, or it is tried again)
///              +-------------------+-----------+----------------------+
///              v                   |           |                      |
/// NotStarted -> Queued -> Preparing -> Starting -> Running -> Finalizing -> Completed
///      |          |           |            |          |        ^  |  |
///      |          |           +------------+----------|--------|--+--|---> Failed
///      |          |           v            v          v        |     |
///      |          |           +--> CancelRequested <--+--------+     |
///      |          |                       |                          |
///      +----------+-----------------------+--------------------------+---> Canceled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub(crate) enum RunStatus {
    /// Made, not yet accepted.
    NotStarted,
    /// Accepted; waits for a place.
    Queued,
    /// Has a place; its source and environment are being put there.
    Preparing,
    /// Its supervisor is being started.
    Starting,
    /// The script runs.
    Running,
    /// The script is over; what it left is being collected.
    Finalizing,
    /// Was asked to end and has not yet.
    CancelRequested,
    /// Ended well.
    Completed,
    /// Ended otherwise; the exit says how.
    Failed,
    /// Ended because someone asked for it.
    Canceled,
}

impl RunStatus {
    /// Every status, in the order of a run's life.
    pub(crate) const ALL: [Self; 10] = [
        Self::NotStarted,
        Self::Queued,
        Self::Preparing,
        Self::Starting,
        Self::Running,
        Self::Finalizing,
        Self::CancelRequested,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
    ];

    /// Azure's name for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::Queued => "Queued",
            Self::Preparing => "Preparing",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Finalizing => "Finalizing",
            Self::CancelRequested => "CancelRequested",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    /// Returns the status with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Returns the status that follows once `event` has happened. Pure.
    ///
    /// To ask for the end of a run twice, or when its script is over already, is no error and
    /// changes nothing.
    pub(crate) fn after(self, event: RunEvent) -> Result<Self, TransitionDenied> {
        use {RunEvent as E, RunStatus as S};
        Ok(match (self, event) {
            (S::Completed | S::Failed | S::Canceled, _) => {
                return Err(TransitionDenied::Ended { status: self });
            }
            (S::NotStarted, E::Submitted) => S::Queued,
            (S::Queued, E::PlaceGiven) => S::Preparing,
            (S::Preparing, E::LaunchIntended) => S::Starting,
            (S::Preparing | S::Starting, E::PlaceTakenBack) => S::Queued,
            (S::Preparing | S::Starting | S::Finalizing, E::TriedAgain) => S::Queued,
            (S::Preparing | S::Starting, E::NeverStarted) => S::Failed,
            (S::Starting, E::ScriptStarted) => S::Running,
            (S::Starting | S::Running | S::CancelRequested, E::ScriptEnded) => S::Finalizing,
            (S::Finalizing, E::Collected(ending)) => ending.status(),
            (S::NotStarted | S::Queued, E::CancelAsked) => S::Canceled,
            (S::Preparing | S::Starting | S::Running | S::CancelRequested, E::CancelAsked) => {
                S::CancelRequested
            }
            (S::CancelRequested, E::ScriptStarted) => S::CancelRequested,
            (S::CancelRequested, E::NeverStarted) => S::Canceled,
            (S::Finalizing, E::CancelAsked) => S::Finalizing,
            _ => return Err(TransitionDenied::OutOfOrder { status: self, event: event.name() }),
        })
    }

    /// Says whether nothing can follow.
    pub(crate) const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that happened to a run, as whoever drives it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEvent {
    /// It was handed in.
    Submitted,
    /// The scheduler gave it a place.
    PlaceGiven,
    /// The agent that gave the place went away before the script started.
    PlaceTakenBack,
    /// Its supervisor is about to be started.
    LaunchIntended,
    /// Its supervisor was seen at work.
    ScriptStarted,
    /// It ended before a script could start, for lack of something or because it was cancelled.
    NeverStarted,
    /// Its script is over, or its supervisor is gone.
    ScriptEnded,
    /// What it left was collected, and this is how it ended.
    Collected(Ending),
    /// Its attempt ended, and another is to follow. The records deny it of a run that was asked to
    /// end meanwhile.
    TriedAgain,
    /// Someone asked for its end.
    CancelAsked,
}

/// How a run that had a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Well.
    Well,
    /// Because someone asked for it.
    Cancelled,
    /// In any other way.
    Badly,
}

impl Ending {
    const fn status(self) -> RunStatus {
        match self {
            Self::Well => RunStatus::Completed,
            Self::Cancelled => RunStatus::Canceled,
            Self::Badly => RunStatus::Failed,
        }
    }
}

impl RunEvent {
    /// Every event.
    #[cfg(test)]
    const ALL: [Self; 12] = [
        Self::Submitted,
        Self::PlaceGiven,
        Self::PlaceTakenBack,
        Self::LaunchIntended,
        Self::ScriptStarted,
        Self::NeverStarted,
        Self::ScriptEnded,
        Self::Collected(Ending::Well),
        Self::Collected(Ending::Cancelled),
        Self::Collected(Ending::Badly),
        Self::TriedAgain,
        Self::CancelAsked,
    ];

    /// A word for logs and messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::PlaceGiven => "place given",
            Self::PlaceTakenBack => "place taken back",
            Self::LaunchIntended => "launch intended",
            Self::ScriptStarted => "script started",
            Self::NeverStarted => "never started",
            Self::ScriptEnded => "script ended",
            Self::Collected(Ending::Well) => "collected, well",
            Self::Collected(Ending::Cancelled) => "collected, cancelled",
            Self::Collected(Ending::Badly) => "collected, badly",
            Self::TriedAgain => "tried again",
            Self::CancelAsked => "cancel asked",
        }
    }
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransitionDenied {
    /// The run is over.
    #[error("the run has already ended as {status}")]
    Ended {
        /// As what.
        status: RunStatus,
    },
    /// The event cannot happen now.
    #[error("{event:?} cannot happen to a run that is {status}")]
    OutOfOrder {
        /// Where the run stands.
        status: RunStatus,
        /// The event.
        event: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_status_answers_every_event() {
        let mut table = format!("{:22}", "");
        for status in RunStatus::ALL {
            table += &format!("{status:16}");
        }
        for event in RunEvent::ALL {
            table += &format!("\n{:22}", event.name());
            for status in RunStatus::ALL {
                let answer = status.after(event).map_or("-", RunStatus::name);
                table += &format!("{answer:16}");
            }
        }
        let table: Vec<_> = table.lines().map(str::trim_end).collect();

        insta::assert_snapshot!(table.join("\n"), @r#"
                              NotStarted      Queued          Preparing       Starting        Running         Finalizing      CancelRequested Completed       Failed          Canceled
        submitted             Queued          -               -               -               -               -               -               -               -               -
        place given           -               Preparing       -               -               -               -               -               -               -               -
        place taken back      -               -               Queued          Queued          -               -               -               -               -               -
        launch intended       -               -               Starting        -               -               -               -               -               -               -
        script started        -               -               -               Running         -               -               CancelRequested -               -               -
        never started         -               -               Failed          Failed          -               -               Canceled        -               -               -
        script ended          -               -               -               Finalizing      Finalizing      -               Finalizing      -               -               -
        collected, well       -               -               -               -               -               Completed       -               -               -               -
        collected, cancelled  -               -               -               -               -               Canceled        -               -               -               -
        collected, badly      -               -               -               -               -               Failed          -               -               -               -
        tried again           -               -               Queued          Queued          -               Queued          -               -               -               -
        cancel asked          Canceled        Canceled        CancelRequested CancelRequested CancelRequested Finalizing      CancelRequested -               -               -
        "#);
    }

    #[test]
    fn every_status_has_its_name() {
        for status in RunStatus::ALL {
            assert_eq!(RunStatus::named(status.name()), Some(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        assert_eq!(RunStatus::named("completed"), None);
    }

    fn any_events() -> impl Strategy<Value = Vec<RunEvent>> {
        proptest::collection::vec(proptest::sample::select(RunEvent::ALL.to_vec()), 0..60)
    }

    proptest! {
        #[test]
        fn no_order_of_events_revives_an_ended_run(events in any_events()) {
            let mut status = RunStatus::NotStarted;
            for event in events {
                let next = status.after(event);
                if status.is_ended() {
                    prop_assert_eq!(next, Err(TransitionDenied::Ended { status }));
                } else if let Ok(next) = next {
                    status = next;
                }
            }
        }

        #[test]
        fn a_run_that_was_asked_to_end_never_starts(events in any_events()) {
            let mut status = RunStatus::NotStarted;
            let mut asked = false;
            for event in events {
                // The records, which know that it was asked, deny it then.
                let event = if asked && event == RunEvent::TriedAgain { continue } else { event };
                let Ok(next) = status.after(event) else { continue };
                // Once the script is over, asking comes too late to count.
                asked |= event == RunEvent::CancelAsked && next != RunStatus::Finalizing;
                status = next;
                let starts = [RunStatus::Queued, RunStatus::Preparing, RunStatus::Starting, RunStatus::Running];
                prop_assert!(!(asked && starts.contains(&status)), "{} after {}", status, event.name());
            }
        }

        #[test]
        fn an_event_that_happens_twice_in_a_row_starts_nothing_twice(events in any_events()) {
            let mut status = RunStatus::NotStarted;
            for event in events {
                let Ok(next) = status.after(event) else { continue };
                if event != RunEvent::CancelAsked && event != RunEvent::ScriptStarted {
                    prop_assert!(next.after(event).is_err(), "{} twice", event.name());
                }
                status = next;
            }
        }
    }
}
