//! Changes of the map's object. Each is one compare-and-swap on its `resourceVersion`.

use kube::api::PostParams;
use opaque_crds::OpaqueShardMap;
use opaque_store::UnixMillis;
use tokio::time::timeout;

use super::map::{Maps, Verdict, judged, write_map};
use super::{ATTEMPTS, KubernetesCoordination, REQUEST, api_error, late, lead};
use crate::coordination::written::{Mend, Served};
use crate::coordination::{CoordinationError, Leadership};
use crate::map::placement::Shards;

/// The part of the object that is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Spec,
    Status,
}

impl KubernetesCoordination {
    /// Applies `change` to the object, and again to the newer version if the object has changed in
    /// between. `change` returns `None` if there is nothing to do.
    pub(super) async fn swap(
        &self,
        part: Part,
        change: impl Fn(&OpaqueShardMap, &Maps) -> Result<Option<OpaqueShardMap>, CoordinationError>
        + Send
        + Sync,
    ) -> Result<Maps, CoordinationError> {
        for _ in 0..ATTEMPTS {
            let object = self.object().await?.ok_or(CoordinationError::NotInitialized)?;
            let maps = Maps::read(&object)?;
            let Some(changed) = change(&object, &maps)? else { return Ok(maps) };
            if let Some(written) = self.replace(part, &changed).await? {
                return Maps::read(&written);
            }
        }
        Err(CoordinationError::Busy(REQUEST))
    }

    /// Writes a part of the object; `None` if it has changed since it was read.
    async fn replace(
        &self,
        part: Part,
        changed: &OpaqueShardMap,
    ) -> Result<Option<OpaqueShardMap>, CoordinationError> {
        let name = || format!("OpaqueShardMap {}/{}", self.namespace, self.cluster);
        let params = PostParams::default();
        let written = match part {
            Part::Spec => {
                timeout(REQUEST, self.maps.replace(&self.cluster, &params, changed)).await
            }
            Part::Status => {
                timeout(REQUEST, self.maps.replace_status(&self.cluster, &params, changed)).await
            }
        };
        match written {
            Ok(Ok(object)) => Ok(Some(object)),
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Ok(None),
            Ok(Err(error)) => Err(api_error(name(), error)),
            Err(_) => Err(late(name())),
        }
    }

    /// Writes a leader's verdict on the proposed generation, unless `done` reports that it is
    /// already written.
    pub(super) async fn judge(
        &self,
        leadership: &Leadership,
        verdict: Verdict<'_>,
        done: impl Fn(&Maps) -> Result<bool, CoordinationError> + Send + Sync,
    ) -> Result<Maps, CoordinationError> {
        let (leader, token) = (leadership.node(), leadership.token());
        self.check_lead(token).await?;
        self.swap(Part::Status, |object, maps| {
            maps.admit(leader, token)?;
            if done(maps)? {
                return Ok(None);
            }
            let status = Some(judged(object, leader, token, verdict));
            Ok(Some(OpaqueShardMap { status, ..object.clone() }))
        })
        .await
    }

    /// Checks that this token is still that of the last lead.
    async fn check_lead(&self, token: u64) -> Result<(), CoordinationError> {
        self.check(token, self.lead().await?.as_ref().map_or(0, lead::token))
    }

    fn check(&self, token: u64, current: u64) -> Result<(), CoordinationError> {
        if token == current { Ok(()) } else { Err(CoordinationError::Fenced { token, current }) }
    }

    /// Writes the served map if the object differs from it, step by step.
    pub(super) async fn write_what_is_served(
        &self,
        leadership: &Leadership,
        shards: &Shards,
        now: UnixMillis,
    ) -> Result<(), CoordinationError> {
        let (leader, token) = (leadership.node(), leadership.token());
        // The API stores whole seconds.
        let now = UnixMillis(now.seconds() * 1000);
        for _ in 0..ATTEMPTS {
            let known = self.known();
            let served = Served::new(&known, &known.members);
            self.check_lead(token).await?;
            let object = self.object().await?.ok_or(CoordinationError::NotInitialized)?;
            let maps = Maps::read(&object)?;
            maps.admit(leader, token)?;
            let written = maps.written();
            let step = written.mend(&served, shards, now);
            let judge = |verdict| {
                let status = Some(judged(&object, leader, token, verdict));
                OpaqueShardMap { status, ..object.clone() }
            };
            let (part, changed) = match &step {
                Mend::Nothing => return Ok(()),
                Mend::Forget => (Part::Status, judge(Verdict::NoneActive)),
                Mend::Propose(map) => {
                    let mut changed = object.clone();
                    changed.spec.map = write_map(&maps.keep_owners(map.clone()))?;
                    (Part::Spec, changed)
                }
                Mend::Activate(map) => {
                    let lost: Vec<u64> = written.lost(&served, map).collect();
                    let map = write_map(map)?;
                    (Part::Status, judge(Verdict::Served(&map, &lost)))
                }
            };
            if self.replace(part, &changed).await?.is_some() {
                step.log();
            }
        }
        Err(CoordinationError::Busy(REQUEST))
    }
}
