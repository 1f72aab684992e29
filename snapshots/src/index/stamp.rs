//! What the file system says of a file or directory without reading it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// Everything by which a change of content shows.
///
/// The change time is the one that decides: no program can set it, and every write, rename and
/// change of mode moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Length in bytes.
    pub(crate) size: u64,
    /// Modification time, in nanoseconds since 1970.
    pub(crate) modified: i64,
    /// Change time, in nanoseconds since 1970.
    pub(crate) changed: i64,
    /// Inode number.
    pub(crate) inode: u64,
    /// Device number.
    pub(crate) device: u64,
    /// Type and permissions.
    pub(crate) mode: u32,
}

/// Clocks of file systems move in steps: a write may get a time up to this long before it.
const STEP: Duration = Duration::from_millis(20);

/// The same for file systems that count in seconds, or in steps of two.
const COARSE_STEP: Duration = Duration::from_millis(2100);

impl Stamp {
    /// A stamp that is equal to no file's.
    pub(crate) const UNKNOWN: Self =
        Self { size: 0, modified: i64::MIN, changed: i64::MIN, inode: 0, device: 0, mode: 0 };

    /// Takes what belongs to the stamp from `stat`.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            device: stat.st_dev,
            mode: stat.st_mode,
        }
    }

    /// Returns whether the owner may execute the file.
    pub(crate) fn executable(&self) -> bool {
        self.mode & 0o100 != 0
    }

    /// Returns how long after `now` a change would surely give another stamp than this one, and
    /// nothing when the change time lies in the future and cannot be relied on at all.
    ///
    /// Within one step of its clock a file system gives the same time to a write before and a
    /// write after it was looked at (git calls such an entry racy).
    pub(crate) fn settles_in(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(UNIX_EPOCH).ok()?;
        let changed = Duration::from_nanos(u64::try_from(self.changed).unwrap_or(0));
        // A time in whole milliseconds is one in a million where the clock is a fine one.
        let coarse = changed.subsec_nanos().is_multiple_of(1_000_000);
        let step = if coarse { COARSE_STEP } else { STEP };
        if changed > now { None } else { Some((changed + step).saturating_sub(now)) }
    }

    /// Returns whether a change after `now` would surely give another stamp than this one.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        self.settles_in(now) == Some(Duration::ZERO)
    }
}

/// Times that do not fit, of the year 2262, are all the same and never settled.
fn nanoseconds(seconds: i64, nanoseconds: u64) -> i64 {
    let nanoseconds = i64::try_from(nanoseconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed_at(nanoseconds: i64) -> Stamp {
        Stamp { changed: nanoseconds, ..Stamp::UNKNOWN }
    }

    fn clock(nanoseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn a_recent_change_is_not_settled_until_a_step_of_the_clock_has_passed() {
        let stamp = changed_at(5_000_000_001);
        assert_eq!(stamp.settles_in(clock(5_000_000_001)), Some(STEP));
        assert!(!stamp.is_settled(clock(5_019_000_000)));
        assert!(stamp.is_settled(clock(5_020_000_001)));
    }

    #[test]
    fn a_clock_of_whole_seconds_takes_longer_to_settle() {
        let stamp = changed_at(5_000_000_000);
        assert!(!stamp.is_settled(clock(7_000_000_000)));
        assert!(stamp.is_settled(clock(7_100_000_000)));
    }

    #[test]
    fn a_change_in_the_future_never_settles() {
        assert_eq!(changed_at(5_000_000_001).settles_in(clock(5_000_000_000)), None);
        assert!(!changed_at(i64::MAX).is_settled(clock(5_000_000_000)));
    }
}
