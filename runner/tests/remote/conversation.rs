//! What an agent says to a machine about one run, from the upload to the release. Each step can be
//! done again, over another connection.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use images::environment::Environment;
use jiff::Timestamp;
use runner::cancel_request::{CancelRequest, CancelledBy};
use runner::compute_target::{Needs, SupervisorState};
use runner::exit_record::ExitRecord;
use runner::launch::{LAUNCH_VERSION, Launch};
use runner::log_reader::{LogReader, StreamFilter};
use runner::remote::client::{RemoteClient, RemoteError, Stream};
use runner::remote::files::MIRRORED;
use runner::remote::message::{
    Base64Path, Done, Finished, Hidden, Known, Left, News, Request, Standing, Started,
};
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use snapshots::digest::Digest;
use snapshots::snapshot::{self, SnapshotOptions, SnapshotRecord};
use snapshots::store::local::LocalStore;
use snapshots::transfer::{self, Destination, TransferError};

use crate::machine::python;

/// A run at home: its source, and what came back of it.
pub(crate) struct HomeRun {
    directory: tempfile::TempDir,
    store: LocalStore,
    record: SnapshotRecord,
    pub(crate) id: RunId,
    pub(crate) owner: String,
    pub(crate) needs: Needs,
    pub(crate) launch: Launch,
    pub(crate) secrets: BTreeMap<String, Hidden>,
    standing: Option<Standing>,
    done: Vec<&'static str>,
}

impl HomeRun {
    /// A run of `script`; what else is in the source is `files`.
    pub(crate) fn of(script: &str, files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("script.py"), script).unwrap();
        for (path, content) in files {
            let path = source.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let store = LocalStore::open(&directory.path().join("store")).unwrap();
        let taken = snapshot::take(&source, &store, &SnapshotOptions::default(), &()).unwrap();
        let name = directory.path().file_name().unwrap().to_string_lossy().replace('.', "");
        let id = RunId::generate(&name, 1, std::process::id());
        let launch = Launch {
            version: LAUNCH_VERSION,
            run_id: id.clone(),
            program: vec![python().to_owned(), "-u".to_owned(), "script.py".to_owned()],
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            secret_names: Vec::new(),
            working_directory: "work".into(),
            timeout_seconds: None,
            grace_seconds: 30.0,
            limits: None,
            disk_bytes: None,
            sandbox: None,
            container: None,
        };
        let environment = Environment::UserManaged { interpreter: python().into() };
        Self {
            needs: Needs { snapshot: taken.record.id, environment, fresh: false },
            record: taken.record,
            store,
            id,
            owner: "home".to_owned(),
            launch,
            secrets: BTreeMap::new(),
            standing: None,
            done: Vec::new(),
            directory,
        }
    }

    /// Does all that is not done yet, and returns how the run ended.
    pub(crate) fn carry_through<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<ExitRecord, RemoteError> {
        self.once("upload", client, Self::upload)?;
        self.once("prepare", client, |run, client| {
            run.prepare(client)?;
            run.look_until(client, |standing| !matches!(standing, Standing::Preparing))?;
            Ok(())
        })?;
        self.once("start", client, |run, client| run.start(client).map(drop))?;
        self.once("follow", client, |run, client| run.follow(client).map(drop))?;
        self.once("fetch", client, Self::fetch_all)?;
        self.once("release", client, Self::release)?;
        Ok(self.ended().clone())
    }

    fn once<S: Stream>(
        &mut self,
        step: &'static str,
        client: &mut RemoteClient<S>,
        work: impl FnOnce(&mut Self, &mut RemoteClient<S>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        if !self.done.contains(&step) {
            work(self, client)?;
            self.done.push(step);
        }
        Ok(())
    }

    pub(crate) fn upload<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<(), RemoteError> {
        let mut there = There { client, failed: None };
        let sent = transfer::send(&self.store, &self.record, &mut there, &());
        match (there.failed, sent) {
            (Some(error), _) => Err(error),
            (None, sent) => {
                sent.unwrap();
                Ok(())
            }
        }
    }

    pub(crate) fn prepare<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<Done, RemoteError> {
        client.ask(&Request::Prepare {
            run: self.id.clone(),
            owner: self.owner.clone(),
            needs: self.needs.clone(),
            registry_password: None,
        })
    }

    pub(crate) fn start<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<Started, RemoteError> {
        let launch = Box::new(self.launch.clone());
        let secrets = self.secrets.clone();
        client.ask(&Request::Start { run: self.id.clone(), launch, secrets })
    }

    pub(crate) fn cancel<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<Done, RemoteError> {
        let by = CancelledBy { uid: 1000, user: Some("ana".to_owned()) };
        let cancel = CancelRequest::new(by, Timestamp::now(), false);
        client.ask(&Request::Cancel { run: self.id.clone(), cancel })
    }

    pub(crate) fn settle<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<ExitRecord, RemoteError> {
        client.ask(&Request::Settle { run: self.id.clone() })
    }

    pub(crate) fn release<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<(), RemoteError> {
        client.ask::<Done>(&Request::Release { run: self.id.clone() }).map(drop)
    }

    /// Takes up what is new; returns whether there is more.
    pub(crate) fn look<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
        wait_ms: u64,
    ) -> Result<bool, RemoteError> {
        let known = Known {
            run: self.id.clone(),
            have: MIRRORED.iter().map(|name| self.mirrored(name).len() as u64).collect(),
            standing: self.standing.clone(),
        };
        let mirror = self.mirror();
        // Kept as they come, however the connection ends.
        let mut at = 0;
        let news: News = client.receive(
            &Request::Look { runs: vec![known], wait_ms },
            &mut |news: &News, bytes: &[u8]| {
                append(&mirror, news, &mut at, bytes);
                Ok(())
            },
        )?;
        let promised = news.runs.iter().flat_map(|news| &news.pieces).map(|piece| piece.length);
        assert_eq!(promised.sum::<u64>(), at);
        let Some(news) = news.runs.into_iter().next() else { return Ok(false) };
        assert_eq!(news.run, self.id);
        self.standing = Some(news.standing);
        Ok(news.more)
    }

    /// Looks until the run stands so.
    pub(crate) fn look_until<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
        stands: impl Fn(&Standing) -> bool,
    ) -> Result<Standing, RemoteError> {
        loop {
            let more = self.look(client, 1000)?;
            if let Some(standing) = self.standing.clone().filter(|standing| stands(standing))
                && !more
            {
                return Ok(standing);
            }
        }
    }

    /// Looks until the run is over.
    pub(crate) fn follow<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<ExitRecord, RemoteError> {
        self.look_until(client, |standing| {
            matches!(standing, Standing::Supervised { state: SupervisorState::Ended(_) })
        })?;
        Ok(self.ended().clone())
    }

    pub(crate) fn ended(&self) -> &ExitRecord {
        match &self.standing {
            Some(Standing::Supervised { state: SupervisorState::Ended(record) }) => record,
            other => panic!("the run stands otherwise: {other:?}"),
        }
    }

    pub(crate) fn collect<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<Left, RemoteError> {
        client.ask(&Request::Collect { run: self.id.clone(), snapshot: self.record.id })
    }

    /// Brings all that the run left home, each file from where it broke off.
    pub(crate) fn fetch_all<S: Stream>(
        &mut self,
        client: &mut RemoteClient<S>,
    ) -> Result<(), RemoteError> {
        for file in self.collect(client)?.files {
            let path = self.mirror().join("work").join(&file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let known = fs::read(&path).unwrap_or_default();
            if Digest::of(&known) == file.sha256 && path.exists() {
                continue;
            }
            let part = path.with_extension("part");
            let mut open = fs::OpenOptions::new().append(true).create(true).open(&part).unwrap();
            let offset = open.metadata().unwrap().len();
            fetch(client, &self.id, &file.path, offset, &mut |bytes| open.write_all(bytes))?;
            assert_eq!(Digest::of(&fs::read(&part).unwrap()), file.sha256, "{:?}", file.path);
            fs::rename(part, path).unwrap();
        }
        Ok(())
    }

    /// Returns the directory that the mirror is in.
    pub(crate) fn mirror(&self) -> PathBuf {
        self.directory.path().join("mirror")
    }

    /// Returns what there is at home of a file of the run.
    pub(crate) fn mirrored(&self, name: &str) -> Vec<u8> {
        fs::read(self.mirror().join(name)).unwrap_or_default()
    }

    /// Returns what the script said, as whoever reads the mirror sees it.
    pub(crate) fn text(&self, filter: StreamFilter) -> String {
        let mut reader = LogReader::open(&RunDirectory::new(self.mirror())).unwrap();
        let (segments, _) = reader.read(0, usize::MAX, filter).unwrap();
        String::from_utf8(segments.into_iter().flat_map(|segment| segment.bytes).collect()).unwrap()
    }
}

/// Fetches a file from `offset` on.
pub(crate) fn fetch<S: Stream>(
    client: &mut RemoteClient<S>,
    run: &RunId,
    path: &Path,
    offset: u64,
    to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), RemoteError> {
    let path = Base64Path(BASE64_STANDARD.encode(path.as_os_str().as_bytes()));
    let request = Request::Fetch { run: run.clone(), path, offset };
    client.receive::<Done>(&request, &mut |_, bytes| to(bytes)).map(drop)
}

fn append(mirror: &Path, news: &News, at: &mut u64, mut bytes: &[u8]) {
    let mut begin = 0;
    for piece in news.runs.iter().flat_map(|news| &news.pieces) {
        let end = begin + piece.length;
        if *at < end && !bytes.is_empty() {
            let count = bytes.len().min(usize::try_from(end - *at).unwrap());
            let (now, later) = bytes.split_at(count);
            let path = mirror.join(MIRRORED[piece.file]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            assert_eq!(file.metadata().unwrap().len(), piece.offset + (*at - begin));
            file.write_all(now).unwrap();
            *at += count as u64;
            bytes = later;
        }
        begin = end;
    }
    assert!(bytes.is_empty(), "more bytes than were promised");
}

/// The store on the machine.
struct There<'a, S> {
    client: &'a mut RemoteClient<S>,
    failed: Option<RemoteError>,
}

impl<S: Stream> There<'_, S> {
    fn told<T>(&mut self, answer: Result<T, RemoteError>) -> Result<T, TransferError> {
        answer.map_err(|error| {
            let source = error.to_string().into();
            self.failed = Some(error);
            TransferError::Remote { source }
        })
    }
}

impl<S: Stream> Destination for There<'_, S> {
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
        let answer = self.client.ask(&Request::Missing { digests: digests.to_vec() });
        self.told(answer)
    }

    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
        let answer = self.client.send::<Done>(&Request::Pack, pack);
        self.told(answer).map(drop)
    }

    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
        let answer = self.client.ask(&Request::Finish { record: record.clone() });
        match self.told(answer)? {
            Finished::Kept => Ok(()),
            Finished::Incomplete { missing } => Err(TransferError::Incomplete { missing }),
        }
    }
}
