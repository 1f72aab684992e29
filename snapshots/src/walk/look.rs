//! Finds out what one name stands for: links are followed here, if at all.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::base;
use super::link::{Leads, leads};
use super::listing::FoundKind;
use super::place::{join, shown};
use super::walker::{Entered, Walker, read_error};
use crate::index::stamp::Stamp;
use crate::snapshot::{SnapshotError, SpecialKind, Warning};

impl Walker {
    /// Finds out what a name stands for, whatever the directory said; nothing when it is gone or
    /// cannot be kept.
    pub(super) fn look(
        &self,
        entered: &Entered,
        name: &[u8],
        warned: &mut bool,
    ) -> Result<Option<FoundKind>, SnapshotError> {
        let stat = match rustix::fs::statat(&entered.opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(read_error(errno, "read", &join(&entered.path, name))),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                Ok(Some(FoundKind::File { stamp: Stamp::of(&stat), followed: false }))
            }
            FileType::Directory => Ok(Some(FoundKind::Directory { followed: false })),
            FileType::Symlink => self.link(entered, name, warned),
            special => {
                self.special(entered, name, special);
                *warned = true;
                Ok(None)
            }
        }
    }

    fn link(
        &self,
        entered: &Entered,
        name: &[u8],
        warned: &mut bool,
    ) -> Result<Option<FoundKind>, SnapshotError> {
        let failed = |errno| read_error(errno, "follow", &join(&entered.path, name));
        let target = match rustix::fs::readlinkat(&entered.opened, name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let place = &entered.place;
        let way = place.names_below_base();
        let led = leads(&place.base.real, &way, &target, |names| {
            let (last, above) = names.split_last()?;
            let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
            let directory = base::open_below(&place.base, &above).ok()?;
            Some(rustix::fs::readlinkat(directory, &**last, Vec::new()).ok()?.into_bytes())
        });
        let path = || shown(join(&entered.path, name));
        match led {
            Leads::Inside { target } => return Ok(Some(FoundKind::Link { target })),
            Leads::Out if self.follow_links => {}
            Leads::Out => {
                let target = shown(target);
                return Err(SnapshotError::LinkLeadsOut { path: path(), target });
            }
        }
        let stat = match rustix::fs::statat(&entered.opened, name, AtFlags::empty()) {
            Ok(stat) => stat,
            Err(Errno::LOOP) => return Err(SnapshotError::LinkLoop { path: path() }),
            Err(errno) => return Err(failed(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                Ok(Some(FoundKind::File { stamp: Stamp::of(&stat), followed: true }))
            }
            FileType::Directory => Ok(Some(FoundKind::Directory { followed: true })),
            special => {
                self.special(entered, name, special);
                *warned = true;
                Ok(None)
            }
        }
    }

    fn special(&self, entered: &Entered, name: &[u8], kind: FileType) {
        let kind = match kind {
            FileType::Fifo => SpecialKind::Fifo,
            FileType::Socket => SpecialKind::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => SpecialKind::Device,
            _ => SpecialKind::Other,
        };
        self.warn(Warning::SpecialFile { path: shown(join(&entered.path, name)), kind });
    }
}
