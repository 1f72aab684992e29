//! How a script in a container ended, from what its engine says. Pure.

use images::engine::ContainerState;
use jiff::{Span, Timestamp};

use super::prelude::Word;
use crate::supervisor::verdict::{Findings, ScriptStatus};

/// What an engine means when it says that a container was out of memory.
const AT_LIMIT: &str = "the kernel killed a process of the script, which was at its memory limit";

/// What is known of a container that is not on any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// Where it stands; `None` when it is gone.
    pub(super) state: Option<ContainerState>,
    /// When the engine went away, if it was not seen on after that.
    pub(super) gone_since: Option<Timestamp>,
    /// Whether this engine lets containers go on when it is stopped.
    pub(super) live_restore: bool,
}

/// What an engine says of a container whose end it missed, as one that is restarted meanwhile may.
const UNKNOWN: i64 = 255;

/// Takes from the prelude how the program ended where the engine does not know.
pub(super) fn fill_in(over: &mut Over, word: Word) {
    if let (Some(state), Word::Ended(code)) = (&mut over.state, word)
        && state.exit_code == UNKNOWN
    {
        state.exit_code = code.into();
    }
}

/// Says how the main process ended. Docker answers 128 + N for signal N, and so does an init
/// process for the one it looks after.
pub(super) fn status(over: &Over) -> ScriptStatus {
    let code = over.state.as_ref().map_or(137, |state| state.exit_code);
    let code = i32::try_from(code).unwrap_or(255);
    match code - 128 {
        signal @ 1..=64 => ScriptStatus::Signal(signal),
        _ => ScriptStatus::Code(code),
    }
}

/// Says what else is known. `word` is what the prelude said, where there was one.
pub(super) fn findings(over: &Over, word: Option<Word>, program: &str, image: &str) -> Findings {
    // We remove it later.
    let state = over.state.as_ref().filter(|state| !is_being_removed(state));
    let Some(state) = state else {
        let why = "the script's container was removed by somebody else".to_owned();
        return Findings { engine_stopped: Some(why), ..Findings::default() };
    };
    let status = status(over);
    Findings {
        never_ran: word.and_then(|word| never_ran(status, word, program, image)),
        engine_stopped: engine_stopped(over, state, status),
        out_of_memory: state.oom_killed.then(|| AT_LIMIT.to_owned()),
        note: Some(&state.error)
            .filter(|error| !error.is_empty())
            .map(|error| format!("the container engine says: {error}")),
        refused_calls: None,
    }
}

fn is_being_removed(state: &ContainerState) -> bool {
    matches!(state.status.as_str(), "removing" | "dead")
}

fn never_ran(status: ScriptStatus, word: Word, program: &str, image: &str) -> Option<String> {
    match (word, status) {
        (Word::Failed, ScriptStatus::Code(127)) => {
            Some(format!("the program {program:?} was not found in the image {image:?}"))
        }
        (Word::Failed, ScriptStatus::Code(126)) => {
            Some(format!("the program {program:?} of the image {image:?} may not be executed"))
        }
        (Word::None, ScriptStatus::Code(code)) => Some(format!(
            "the shell of the image {image:?} ended with exit code {code} before it started the \
             program: it could not open the run's pipes"
        )),
        _ => None,
    }
}

/// Says whether it was the engine that ended it, as it does when it is stopped or comes back
/// without live-restore. A script that ended before the engine went away has ended by itself.
fn engine_stopped(over: &Over, state: &ContainerState, status: ScriptStatus) -> Option<String> {
    let gone_since = over.gone_since.filter(|_| !over.live_restore)?;
    let finished: Option<Timestamp> = state.finished_at.parse().ok();
    // The engine ends containers at the very moment it stops answering, which shows a little later,
    // and on a busy machine seconds later; a script that was asked may be over before that.
    let killed = matches!(status, ScriptStatus::Signal(9 | 15) | ScriptStatus::Code(255));
    let slack = Span::new().milliseconds(if killed { 10_000 } else { 250 });
    let since = gone_since.checked_sub(slack).unwrap_or(gone_since);
    if finished.is_some_and(|finished| finished < since && finished > Timestamp::UNIX_EPOCH) {
        return None;
    }
    let how = match status {
        ScriptStatus::Code(code) => format!("exit code {code}"),
        ScriptStatus::Signal(signal) => format!("signal {signal}"),
    };
    Some(format!("the container engine was stopped and ended the script ({how})"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn over(exit_code: i64, finished: i64, gone: Option<i64>, live_restore: bool) -> Over {
        let at = |second| Timestamp::from_second(second).unwrap();
        let state = ContainerState {
            id: "c".to_owned(),
            status: "exited".to_owned(),
            running: false,
            exit_code,
            oom_killed: false,
            error: String::new(),
            pid: 0,
            started_at: at(1).to_string(),
            finished_at: at(finished).to_string(),
            labels: BTreeMap::new(),
        };
        Over { state: Some(state), gone_since: gone.map(at), live_restore }
    }

    #[test]
    fn codes_above_128_are_signals_that_there_are() {
        let status = |code| status(&over(code, 9, None, false));
        assert_eq!(status(0), ScriptStatus::Code(0));
        assert_eq!(status(128), ScriptStatus::Code(128));
        assert_eq!(status(137), ScriptStatus::Signal(9));
        assert_eq!(status(192), ScriptStatus::Signal(64));
        assert_eq!(status(193), ScriptStatus::Code(193));
        assert_eq!(status(255), ScriptStatus::Code(255));
    }

    #[test]
    fn an_end_that_the_engine_missed_is_what_the_prelude_says() {
        let status = |code, word| {
            let mut over = over(code, 9, None, true);
            fill_in(&mut over, word);
            status(&over)
        };
        assert_eq!(status(255, Word::Ended(3)), ScriptStatus::Code(3));
        assert_eq!(status(255, Word::Ended(137)), ScriptStatus::Signal(9));
        assert_eq!(status(255, Word::Ended(255)), ScriptStatus::Code(255));
        assert_eq!(status(255, Word::Ready), ScriptStatus::Code(255));
        assert_eq!(status(137, Word::Ended(0)), ScriptStatus::Signal(9));
    }

    #[test]
    fn a_script_was_ended_by_the_engine_or_by_itself() {
        let mut table = String::new();
        for (code, finished, gone, live_restore) in [
            (143, 100, None, false),
            (143, 100, Some(100), false),
            (137, 105, Some(100), false),
            (143, 91, Some(100), false),
            (143, 89, Some(100), false),
            (0, 99, Some(100), false),
            (0, 105, Some(100), false),
            (137, 0, Some(100), false),
            (0, 105, Some(100), true),
            (137, 105, Some(100), true),
        ] {
            let found = findings(&over(code, finished, gone, live_restore), None, "p", "i");
            let shown = found.engine_stopped.unwrap_or_else(|| "by itself".to_owned());
            let gone = gone.map_or_else(|| "never".to_owned(), |gone| gone.to_string());
            table += &format!("{code} at {finished}, gone {gone}, {live_restore}: {shown}\n");
        }
        insta::assert_snapshot!(table, @r#"
        143 at 100, gone never, false: by itself
        143 at 100, gone 100, false: the container engine was stopped and ended the script (signal 15)
        137 at 105, gone 100, false: the container engine was stopped and ended the script (signal 9)
        143 at 91, gone 100, false: the container engine was stopped and ended the script (signal 15)
        143 at 89, gone 100, false: by itself
        0 at 99, gone 100, false: by itself
        0 at 105, gone 100, false: the container engine was stopped and ended the script (exit code 0)
        137 at 0, gone 100, false: the container engine was stopped and ended the script (signal 9)
        0 at 105, gone 100, true: by itself
        137 at 105, gone 100, true: by itself
        "#);
    }

    #[test]
    fn a_container_that_is_gone_was_removed() {
        let gone = Over { state: None, gone_since: None, live_restore: true };
        assert_eq!(status(&gone), ScriptStatus::Signal(9));
        let why = findings(&gone, Some(Word::Ready), "p", "i").engine_stopped.unwrap();
        assert_eq!(why, "the script's container was removed by somebody else");

        let mut going = over(137, 9, None, true);
        if let Some(state) = &mut going.state {
            state.status = "removing".to_owned();
        }
        assert_eq!(findings(&going, None, "p", "i").engine_stopped, Some(why));
    }

    #[test]
    fn a_program_that_never_ran_is_named() {
        let mut table = String::new();
        for (code, word) in [
            (127, Word::Failed),
            (126, Word::Failed),
            (2, Word::None),
            (127, Word::Ready),
            (1, Word::Failed),
            (137, Word::None),
        ] {
            let found = findings(&over(code, 9, None, false), Some(word), "python", "debian:12");
            let shown = found.never_ran.unwrap_or_else(|| "it ran".to_owned());
            table += &format!("{code} {word:?}: {shown}\n");
        }
        insta::assert_snapshot!(table, @r#"
        127 Failed: the program "python" was not found in the image "debian:12"
        126 Failed: the program "python" of the image "debian:12" may not be executed
        2 None: the shell of the image "debian:12" ended with exit code 2 before it started the program: it could not open the run's pipes
        127 Ready: it ran
        1 Failed: it ran
        137 None: it ran
        "#);
    }

    #[test]
    fn what_the_engine_says_is_passed_on() {
        let mut over = over(1, 9, None, false);
        if let Some(state) = &mut over.state {
            state.oom_killed = true;
            state.error = "no space left".to_owned();
        }
        let found = findings(&over, None, "p", "i");
        assert_eq!(found.out_of_memory.unwrap(), AT_LIMIT);
        assert_eq!(found.note.unwrap(), "the container engine says: no space left");
    }
}
