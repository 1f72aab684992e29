//! Which packages it will be: solved, or as a lock says.

use std::str::FromStr;
use std::sync::Arc;

use rattler_conda_types::package::CondaArchiveIdentifier;
use rattler_conda_types::{
    Channel, ChannelConfig, ExplicitEnvironmentSpec, GenericVirtualPackage, MatchSpec,
    PackageArchiveHash, ParseStrictness, RepoDataRecord, Subdir,
};
use rattler_repodata_gateway::{Gateway, GatewayError, RepoData};
use rattler_solve::{
    CancellationToken, ChannelPriority, SolveError, SolverImpl, SolverTask, resolvo,
};
use rattler_virtual_packages::{VirtualPackageOverrides, VirtualPackages};

use super::super::{Order, Spec};
use super::{Teller, Trouble, chain};

/// Who asks for what.
pub(super) struct Query<'a> {
    pub(super) order: &'a Order<'a>,
    pub(super) gateway: &'a Gateway,
    pub(super) platform: Subdir,
    pub(super) teller: &'a Teller,
}

impl Query<'_> {
    /// Finds packages that satisfy all the specs, and returns them with these.
    pub(super) async fn solve(
        &self,
        stop: CancellationToken,
    ) -> Result<(Vec<RepoDataRecord>, Vec<MatchSpec>), Trouble> {
        let mut specs = self.specs()?;
        let pip = self.pip()?;
        let channels = self.channels()?;
        for channel in &self.order.channels {
            self.teller.tell(format!("Reading channel {channel}"));
        }
        let found = self
            .gateway
            .query(channels, [self.platform, Subdir::NoArch], specs.iter().chain(&pip).cloned())
            .recursive(true)
            .channel_notices(false)
            .await
            .map_err(unreachable)?
            .repodata;
        // As conda does, but only where there is one to be had.
        let has_pip = |data: &RepoData| {
            data.iter().any(|record| record.package_record.name.as_normalized() == "pip")
        };
        if found.iter().any(has_pip) {
            specs.extend(pip);
        }
        let count: usize = found.iter().map(RepoData::len).sum();
        self.teller.tell(format!("Solving for {} (candidates: {count})", self.platform));
        let virtual_packages = self.virtual_packages()?;
        let wanted = specs.clone();
        let solved = tokio::task::spawn_blocking(move || {
            let task = SolverTask {
                virtual_packages,
                specs: wanted,
                // conda's default. mamba's is stricter, and finds no solution more often.
                channel_priority: ChannelPriority::Flexible,
                cancellation_token: Some(stop),
                ..SolverTask::from_iter(&found)
            };
            resolvo::Solver.solve(task)
        });
        match solved.await {
            Ok(Ok(solved)) => Ok((solved.records, specs)),
            Ok(Err(SolveError::Unsolvable(reasons))) => {
                Err(Trouble::Unsolvable(reasons.join("\n")))
            }
            Ok(Err(SolveError::Cancelled)) | Err(_) => Err(Trouble::Cancelled),
            Ok(Err(error)) => Err(Trouble::Other(format!("error: {}", chain(&error)))),
        }
    }

    /// Returns the packages of an earlier build.
    pub(super) async fn of_lock(&self, lock: &str) -> Result<Vec<RepoDataRecord>, Trouble> {
        let wrong = |error: String| Trouble::Other(format!("error: cannot read the lock: {error}"));
        let lock = ExplicitEnvironmentSpec::from_str(lock).map_err(|e| wrong(e.to_string()))?;
        let mut specs = Vec::new();
        for entry in lock.packages {
            let url = entry.url.as_str().to_owned();
            let name = CondaArchiveIdentifier::try_from_url(&entry.url)
                .ok_or_else(|| wrong(url.clone()))?
                .identifier
                .name;
            let mut spec = MatchSpec::from_str(&name, ParseStrictness::Lenient)
                .map_err(|_| wrong(url.clone()))?;
            match entry.package_archive_hash().map_err(|e| wrong(e.to_string()))? {
                Some(PackageArchiveHash::Sha256(hash)) => spec.sha256 = Some(hash),
                Some(PackageArchiveHash::Md5(hash)) => spec.md5 = Some(hash),
                None => {}
            }
            let mut plain = entry.url;
            plain.set_fragment(None);
            spec.url = Some(plain);
            specs.push(spec);
        }
        self.teller.tell("Fetching the packages that were chosen before");
        let found = self
            .gateway
            .query(Vec::<Channel>::new(), [self.platform, Subdir::NoArch], specs)
            .recursive(false)
            .await
            .map_err(unreachable)?;
        Ok(found.repodata.iter().flat_map(RepoData::iter).cloned().collect())
    }

    fn specs(&self) -> Result<Vec<MatchSpec>, Trouble> {
        self.order.specs.iter().map(spec).collect()
    }

    /// The spec of pip, where it is to come along.
    fn pip(&self) -> Result<Option<MatchSpec>, Trouble> {
        if !self.order.add_pip {
            return Ok(None);
        }
        let parsed = MatchSpec::from_str("pip", ParseStrictness::Lenient);
        parsed.map(Some).map_err(|error| Trouble::Other(error.to_string()))
    }

    fn channels(&self) -> Result<Vec<Channel>, Trouble> {
        self.order.channels.iter().map(|url| channel(url)).collect()
    }

    /// What the machine brings: kernel, libc, GPU driver. For another platform, what can be taken
    /// for granted there.
    fn virtual_packages(&self) -> Result<Vec<GenericVirtualPackage>, Trouble> {
        let overrides = VirtualPackageOverrides::default();
        let found = VirtualPackages::detect_for_platform(self.platform, &overrides, None);
        let found = found.map_err(|error| Trouble::Other(format!("error: {}", chain(&error))))?;
        Ok(found.into_generic_virtual_packages().collect())
    }
}

fn spec(spec: &Spec<'_>) -> Result<MatchSpec, Trouble> {
    let mut parsed = MatchSpec::from_str(spec.text, ParseStrictness::Lenient)
        .map_err(|e| Trouble::Unsolvable(format!("{:?} is not understood: {e}", spec.text)))?;
    if let Some(url) = &spec.channel {
        parsed.channel = Some(Arc::new(channel(url)?));
    }
    Ok(parsed)
}

fn channel(url: &str) -> Result<Channel, Trouble> {
    let config = ChannelConfig::default_with_root_dir("/".into());
    Channel::from_str(url, &config)
        .map_err(|error| Trouble::Unreachable(format!("error: channel {url}: {}", chain(&error))))
}

fn unreachable(error: GatewayError) -> Trouble {
    match error {
        GatewayError::Cancelled => Trouble::Cancelled,
        error => Trouble::Unreachable(format!("error: {}", chain(&error))),
    }
}
